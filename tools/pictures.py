"""Store the pictures of executed notebooks with 256 colors: nobody sees the difference, and a file takes a quarter

    python tools/pictures.py FOLDER
"""
import base64, io, json, sys
from pathlib import Path

from PIL import Image

def smaller(
    png:bytes, # a picture
)->bytes: # the same with a palette; as it was where that is no gain
    "A PNG with at most 256 colors"
    image = Image.open(io.BytesIO(png))
    if image.mode == 'P': return png
    out = io.BytesIO()
    image.convert('RGBA').quantize(256, dither=Image.Dither.NONE).save(out, 'PNG', optimize=True)
    return min(out.getvalue(), png, key=len)

def shrink(
    nb:Path, # an executed notebook, rewritten where a picture became smaller
)->None:
    "Shrink every picture in the outputs of a notebook"
    content, changed = json.loads(nb.read_text(encoding='utf-8')), False
    for cell in content['cells']:
        for data in (out['data'] for out in cell.get('outputs', []) if 'image/png' in out.get('data', {})):
            was = base64.b64decode(''.join(data['image/png']))
            if (now := smaller(was)) != was: data['image/png'], changed = base64.b64encode(now).decode(), True
    if changed: nb.write_text(json.dumps(content, indent=1, ensure_ascii=False) + '\n', encoding='utf-8')

if __name__ == '__main__':
    for nb in sorted(Path(sys.argv[1]).glob('*.ipynb')): shrink(nb)
