"Hands the requirements of settings.ini to setuptools; all else stands in pyproject.toml"
from configparser import ConfigParser
from pathlib import Path

from setuptools import setup

cfg = ConfigParser(delimiters=['='], interpolation=None)
cfg.read(Path(__file__).parent/'settings.ini', encoding='utf-8')
setup(
    install_requires=cfg['package']['requirements'].split(),
    extras_require={extra: names.split() for extra, names in cfg['extras'].items()},
)
