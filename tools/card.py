"""Draw the picture that a link to the site shows elsewhere: name, one line, and the figure of the home page

    python tools/card.py
"""
import base64, io, json, re, textwrap

import matplotlib.pyplot as plt
from PIL import Image

from docs import ROOT, source
from outputs import smaller

WIDTH, HEIGHT = 1200, 630 # pixels, as social networks ask for

def parts()->tuple[str, str, Image.Image]: # name, one line, figure
    "What the home page's notebook holds"
    cells = json.loads((ROOT/'nbs/index.ipynb').read_text(encoding='utf-8'))['cells']
    name, about = re.match(r'# (.+)\n\n> (.+)', source(cells[0])).groups()
    png = next(out['data']['image/png'] for c in cells for out in c.get('outputs', []) if 'image/png' in out.get('data', {}))
    return name, about, Image.open(io.BytesIO(base64.b64decode(png))).convert('RGBA').convert('RGB')

def draw()->bytes: # a PNG
    "The card"
    name, about, figure = parts()
    fig = plt.figure(figsize=(WIDTH/100, HEIGHT/100), dpi=100, facecolor='white')
    fig.text(.05, .85, name, size=46, weight='bold', color='#14171c')
    fig.text(.05, .79, textwrap.fill(about, 62), size=22, color='#5d6672', va='top', linespacing=1.4)
    height = .58
    width = min(height*HEIGHT/WIDTH*figure.width/figure.height, .9)
    ax = fig.add_axes((.05, .04, width, height))
    ax.imshow(figure, interpolation='lanczos', aspect='auto')
    ax.axis('off')
    out = io.BytesIO()
    fig.savefig(out, metadata={'Software': None})
    return smaller(out.getvalue())

if __name__ == '__main__': (ROOT/'nbs/images/card.png').write_bytes(draw())
