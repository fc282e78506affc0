"""Make the outputs of executed notebooks fit to be stored: no stderr, pictures with at most 256 colors

    python tools/outputs.py FOLDER
"""
import base64, io, json, sys
from pathlib import Path

from PIL import Image

def without_stderr(
    cell:dict, # a cell of a notebook, changed in place
)->bool: # whether it held any
    "Drop what libraries wrote to stderr: their warnings differ from release to release, and name paths of one machine"
    kept = [out for out in cell.get('outputs', []) if out.get('name') != 'stderr']
    found = len(kept) < len(cell.get('outputs', []))
    if found: cell['outputs'] = kept
    return found

def smaller(
    png:bytes, # a picture
)->bytes: # the same with a palette; unchanged where that saves nothing
    "A PNG with at most 256 colors: a quarter of the size, and no visible difference"
    image = Image.open(io.BytesIO(png))
    if image.mode == 'P': return png
    out = io.BytesIO()
    image.convert('RGBA').quantize(256, dither=Image.Dither.NONE).save(out, 'PNG', optimize=True)
    return min(out.getvalue(), png, key=len)

def with_smaller_pictures(
    cell:dict, # a cell of a notebook, changed in place
)->bool: # whether one became smaller
    "Shrink every picture in the outputs of a cell"
    found = False
    for data in (out['data'] for out in cell.get('outputs', []) if 'image/png' in out.get('data', {})):
        was = base64.b64decode(''.join(data['image/png']))
        if (now := smaller(was)) != was: data['image/png'], found = base64.b64encode(now).decode(), True
    return found

def tidy(
    nb:Path, # an executed notebook, rewritten where an output changed
)->None:
    "Drop stderr from a notebook, and shrink its pictures"
    content = json.loads(nb.read_text(encoding='utf-8'))
    changed = [step(cell) for cell in content['cells'] for step in (without_stderr, with_smaller_pictures)]
    if any(changed): nb.write_text(json.dumps(content, indent=1, ensure_ascii=False) + '\n', encoding='utf-8')

if __name__ == '__main__':
    for nb in sorted(Path(sys.argv[1]).glob('*.ipynb')): tidy(nb)
