"""Build six spreadsheets with live formulas: the course's, put right

    python tools/sheets.py [FOLDER]

The inputs come from the library (its data, its seeds), and beside each formula stands what the library computes there;
`tests/test_sheets.py` lets LibreOffice recalculate all of them and compares."""
import math, sys, tomllib
from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F
from openpyxl.chart import LineChart, Reference
from openpyxl.formatting.rule import FormulaRule
from openpyxl.worksheet.datavalidation import DataValidation
from workbook import BOLD, PLAIN, TITLE, Book, cell, font, span

from lesson8lib.collab import DotProduct, DotProductBias, apply_y_range
from lesson8lib.convolution import conv2d
from lesson8lib.data import Vocab, load_mnist, load_titanic
from lesson8lib.embedding import Embedding, one_hot
from lesson8lib.gradients import numeric_gradient
from lesson8lib.losses import cross_entropy, mse, softmax
from lesson8lib.optimizers import SGD, Adam, RMSprop
from lesson8lib.pooling import max_pool2d
from lesson8lib.text import numericalize, tokenize
from lesson8lib.titanic import TitanicNet, fit_titanic, prepare_titanic
from lesson8lib.training import new_generator, sgd_step

ROOT = Path(__file__).resolve().parents[1]
top = torch.tensor([[1., 1, 1], [0, 0, 0], [-1, -1, -1]]).double()
corner = torch.tensor([[[0, 0, 0], [.5, .5, .5], [1, 1, 1]], [[0, .5, 1], [0, .5, 1], [0, .5, 1]]]).double()  # of the page Convolution


def pages(**names:str)->dict[str,str]:
    "Titles and addresses of pages"
    urls = tomllib.loads((ROOT/'pyproject.toml').read_text(encoding='utf-8'))['project']['urls']
    return {title.replace('_', ' '): f'{urls["Documentation"].rstrip("/")}/{page}.html' for title, page in names.items()}

def digit(i:int)->torch.Tensor: # 28 × 28, multiples of 1/255 in float64
    "Pixels of an MNIST digit; those of the library are rounded to float32"
    return (load_mnist().images[i].double()*255).round()/255

def shape_head(book, ws, row, column, title, values, name):
    "A header whose size is counted, not typed"
    book.formulas(ws, row, column, f'"{title}: "&ROWS({name})&" × "&COLUMNS({name})', f'{title}: {" × ".join(map(str, values.shape))}')
    ws.cell(row, column).font = BOLD


# ---- Convolution and max pooling
def convolution()->Book:
    "Two convolutions with ReLU, max pooling and a dense layer on a 7; and cross-entropy"
    book = Book('Convolution and max pooling', [
        'A 7 from MNIST passes two convolutional layers with two kernels each, a ReLU after both, 2 × 2 max pooling and a dense layer: one output. '
        'Change a weight of a kernel or a pixel, and every later grid follows. Click on an activation to see its window in the formula.',
        'The sheet “cross-entropy” turns five outputs into probabilities and a loss.'], [
        'Headers said 27 × 27 and 26 × 26 above layers of 26 × 26 and 24 × 25 cells. A kernel of size 3 gives 26 positions on 28 pixels and 24 on 26; '
        'here the headers count their cells, and no window extends beyond the edge.',
        'The center of the edge kernel was .0476, displayed as 0, so that a flat area of ink did not give 0. Here it is 0.',
        'The course’s sheet of cross-entropy used LOG, which is log10: all losses were too small by a factor of ln 10 = 2.303. Here it is LN.',
        'On the same sheet, the sum of the binary losses was negated a second time and displayed as −1.66. '
        'A cross-entropy is never negative; with LN it is 3.81.'],
        pages(Convolution='convolution', Pooling='pooling', Convolutional_neural_network='cnn', Loss_functions='losses', Errata='errata'))
    ws = book.sheet('network', 'B5', {range(1, 117): 4.3, 117: 10})
    book.note(ws, 1, 2, 'A convolutional network, cell by cell', TITLE)
    book.note(ws, 2, 2, 'Each activation is MAX(0, sum of products): the ReLU is part of the formula. Zoom out to see the images.')
    pixels = digit(478)
    book.inputs(ws, 5, 2, pixels, '0.0', 'image')
    shape_head(book, ws, 4, 2, 'input', pixels, 'image')
    maps = first_layer(book, ws, pixels)
    maps = second_layer(book, ws, maps)
    dense_layer(book, ws, pooling_layer(book, ws, maps))
    book.ink(ws, 'B5:AC32')
    entropy_sheet(book)
    return book

def weight_block(book, ws, row, column, values, name, title, number='0.0'):
    "A matrix of weights to edit, colored around 0, below its title"
    book.inputs(ws, row, column, values, number, name)
    book.note(ws, row-1, column, title, BOLD)
    book.colors(ws, span(row, column, *values.shape), middle=True)

def first_layer(book, ws, pixels):
    "Two edge kernels; the second feature map stands below the first"
    kernels = {'top_edge': top, 'left_edge': top.T}
    maps = conv2d(pixels[None], torch.stack([*kernels.values()])[:,None]).relu()
    for k, (name, kernel) in enumerate(kernels.items()):
        weight_block(book, ws, 11+31*k, 31, kernel, name, name.replace('_', ' '))
        book.formulas(ws, 5+31*k, 35, lambda i, j, name=name: f'MAX(0,SUMPRODUCT({span(5+i, 2+j, 3, 3)},{name}))', maps[k], '0.0', f'conv1_{name}')
        shape_head(book, ws, 4+31*k, 35, f'conv1, {name.replace("_", " ")}', maps[k], f'conv1_{name}')
        book.colors(ws, span(5+31*k, 35, 26, 26))
    return maps

def second_layer(book, ws, maps):
    "Two kernels with a slice for each of the two channels"
    kernels = torch.stack([corner, corner.flip(1, 2)])
    out = conv2d(maps, kernels).relu()
    for k in range(2):
        for c in range(2):
            weight_block(book, ws, 9+31*k+5*c, 62, kernels[k,c], f'kernel_{"AB"[k]}_channel_{"xy"[c]}', f'kernel {"AB"[k]}, channel {c+1}')
        def sums(i, j, k=k):
            return '+'.join(f'SUMPRODUCT({span(5+31*c+i, 35+j, 3, 3)},kernel_{"AB"[k]}_channel_{"xy"[c]})' for c in range(2))
        book.formulas(ws, 5+31*k, 66, lambda i, j, sums=sums: f'MAX(0,{sums(i, j)})', out[k], '0.0', f'conv2_{"AB"[k]}')
        shape_head(book, ws, 4+31*k, 66, f'conv2, kernel {"AB"[k]}', out[k], f'conv2_{"AB"[k]}')
        book.colors(ws, span(5+31*k, 66, 24, 24))
    return out

def pooling_layer(book, ws, maps):
    "The maximum of each window of 2 × 2"
    pooled = max_pool2d(maps, 2)
    for k in range(2):
        book.formulas(ws, 5+31*k, 91, lambda i, j, k=k: f'MAX({span(5+31*k+2*i, 66+2*j, 2, 2)})', pooled[k], '0.0', f'pooled_{"AB"[k]}')
        shape_head(book, ws, 4+31*k, 91, 'max pooled', pooled[k], f'pooled_{"AB"[k]}')
        book.colors(ws, span(5+31*k, 91, 12, 12))
    return pooled

def dense_layer(book, ws, pooled):
    "One output: is it a 7? The weights are random, as before training"
    weights = (torch.randn(2, 12, 12, generator=new_generator(0))/20).double().mul(1000).round()/1000
    for k in range(2):
        weight_block(book, ws, 5+31*k, 104, weights[k], f'dense_{"AB"[k]}', 'dense weights (random)', '0.00')
    logit = (pooled*weights).sum()
    book.note(ws, 4, 117, 'dense activation (logit)', BOLD)
    book.formulas(ws, 5, 117, 'SUMPRODUCT(pooled_A,dense_A)+SUMPRODUCT(pooled_B,dense_B)', logit, '0.000', 'logit')
    book.note(ws, 7, 117, 'probability of a 7, by the sigmoid', BOLD)
    book.formulas(ws, 8, 117, '1/(1+EXP(-logit))', logit.sigmoid(), '0.000')
    book.note(ws, 10, 117, 'For ten digits: ten sets of dense weights, then a softmax (see the sheet “cross-entropy”).')

def entropy_sheet(book):
    "Softmax, cross-entropy and binary cross-entropy, on the predictions of the course's sheet"
    ws = book.sheet('cross-entropy', 'A2', {1: 14, range(2, 9): 13})
    logits, target = torch.tensor([-4.8852, 2.5975, .5917, -2.0689, -4.5687]).double(), torch.tensor([0, 1, 0, 0, 0]).double()
    book.head(ws, 1, 1, 'class', 'output', 'exp', 'softmax', 'actual', '−actual·ln p')
    book.inputs(ws, 2, 1, [[n] for n in ('cat', 'dog', 'plane', 'fish', 'building')])
    book.inputs(ws, 2, 2, logits[:,None], '0.0000')
    book.inputs(ws, 2, 5, target.int()[:,None])
    p = softmax(logits, 0)
    book.formulas(ws, 2, 3, lambda i, j: f'EXP(B{2+i})', logits.exp()[:,None], '0.0000')
    book.formulas(ws, 2, 4, lambda i, j: f'C{2+i}/SUM(C$2:C$6)', p[:,None], '0.0000')
    book.formulas(ws, 2, 6, lambda i, j: f'-E{2+i}*LN(D{2+i})', [[-float(t*q.log())] for t, q in zip(target, p, strict=True)], '0.0000')
    book.note(ws, 7, 1, 'sum', BOLD)
    book.formulas(ws, 7, 4, 'SUM(D2:D6)', p.sum(), '0.0000')
    book.formulas(ws, 7, 6, 'SUM(F2:F6)', cross_entropy(logits[None], torch.tensor([1])), '0.0000')
    book.head(ws, 10, 1, 'is a cat', 'prediction', 'loss')
    is_cat, given = torch.tensor([1., 1, 0, 0, 1]).double(), torch.tensor([.5, .98, .9, .5, .9]).double().mul(100).round()/100
    book.inputs(ws, 11, 1, is_cat.int()[:,None])
    book.inputs(ws, 11, 2, given[:,None], '0.00')
    losses = F.binary_cross_entropy(given, is_cat, reduction='none')
    book.formulas(ws, 11, 3, lambda i, j: f'-A{11+i}*LN(B{11+i})-(1-A{11+i})*LN(1-B{11+i})', losses[:,None], '0.0000')
    book.note(ws, 16, 1, 'sum', BOLD)
    book.formulas(ws, 16, 3, 'SUM(C11:C15)', losses.sum(), '0.0000')


# ---- Dropout
def dropout(
    p:float=.5, # probability of dropping
    training:int=1, # 0: evaluation
    rescale:int=1, # divide by 1-p?
)->Book:
    "The activations of a 7, a random number for each, the mask and the product"
    book = Book('Dropout', [
        'The 7 of the page, its activations after the top-edge kernel and a ReLU (scaled to at most 1), a random number for each, the mask, and the result.',
        'Change p (the probability of dropping). Set redraw to 1 for new random numbers at each recalculation (F9), 0 for the page’s seed; '
        'training to 0 for evaluation; rescale to 0 for the course’s sheet, which never divides by 1 − p.'], [
        'The displayed percentage counted the zeros among 600 cells but divided by 676: 79.9 % at p = .9. Here both are counted in the same grid.',
        'Where the mask should hold 1 it held the random number itself. Here it holds 0 and 1, and the next grid multiplies by it, as PyTorch does.',
        'The kept activations were never divided by 1 − p, so that their mean fell with p, and evaluation would have doubled it at p = .5.'],
        pages(Dropout='dropout', Errata='errata'))
    ws = book.sheet('dropout', 'D4', {1: 34, 2: 11, 3: 3, range(4, 175): 4.3})
    pixels = digit(int((load_mnist().labels==7).nonzero()[0]))
    acts = conv2d(pixels[None], top[None,None])[0].relu()
    u = torch.rand(26, 26, generator=new_generator(3)).double()
    dropout_settings(book, ws, p, training, rescale)
    book.inputs(book.sheet('random numbers', 'A1', {range(1, 27): 7}), 1, 1, u, '0.000', 'of_seed_3')
    grids = [('feature_map', acts, lambda i, j: f'MAX(0,SUMPRODUCT({span(4+i, 4+j, 3, 3)},top_edge))'),
             ('activations', acts/acts.max(), lambda i, j: f'{cell(4+i, 37+j)}/MAX(feature_map)'),
             ('random_numbers', u, lambda i, j: f'IF(redraw=1,RAND(),\'random numbers\'!{cell(1+i, 1+j)})'),
             ('mask', (u>p).double(), lambda i, j: f'IF({cell(4+i, 91+j)}>p,1,0)'),
             ('output', dropped(acts/acts.max(), u, p, training, rescale),
              lambda i, j: f'IF(training=1,{cell(4+i, 64+j)}*{cell(4+i, 118+j)}*factor,{cell(4+i, 64+j)})')]
    book.inputs(ws, 4, 4, pixels, '0.0', 'image')
    shape_head(book, ws, 3, 4, 'input', pixels, 'image')
    book.ink(ws, 'D4:AE31')
    book.inputs(ws, 11, 33, top, '0', 'top_edge')
    for k, (name, values, formula) in enumerate(grids):
        book.formulas(ws, 4, 37+27*k, formula, values, '0' if name=='mask' else '0.00', name)
        shape_head(book, ws, 3, 37+27*k, name.replace('_', ' '), values, name)
        book.colors(ws, span(4, 37+27*k, 26, 26))
    dropout_results(book, ws, acts/acts.max(), u, grids[-1][1], p)
    return book

def dropped(x, u, p, training, rescale):
    "What leaves the layer, for given random numbers"
    return x*(u>p)*(1/(1-p) if rescale and p<1 else 1) if training else x

def dropout_settings(book, ws, p, training, rescale):
    "Four cells to change, each with what it accepts"
    book.note(ws, 1, 1, 'Dropout, cell by cell', TITLE)
    book.head(ws, 3, 1, 'setting', 'value')
    for k, (name, value) in enumerate(dict(p=p, training=training, rescale=rescale, redraw=0).items()):
        book.note(ws, 4+k, 1, dict(p='p: probability of dropping', redraw='redraw: new random numbers?').get(name, f'{name}?'), PLAIN)
        book.inputs(ws, 4+k, 2, value, name=name)
        kind = dict(type='decimal') if name=='p' else dict(type='whole')
        rule = DataValidation(operator='between', formula1='0', formula2='1', showErrorMessage=True, error='from 0 to 1', **kind)
        ws.add_data_validation(rule)
        rule.add(ws.cell(4+k, 2))
    book.note(ws, 8, 1, 'factor of the kept activations', PLAIN)
    book.formulas(ws, 8, 2, 'IF(AND(rescale=1,p<1),1/(1-p),1)', 1/(1-p) if rescale and p<1 else 1, '0.000', 'factor')

def dropout_results(book, ws, x, u, out, p):
    "What fraction is dropped, what happens to the mean, and the page's row of seven values of p"
    book.head(ws, 10, 1, 'result', 'value')
    results = {'cells': ('COUNT(mask)', x.numel(), '0'), 'dropped': ('COUNTIF(mask,0)', int((u<=p).sum()), '0'),
               'fraction dropped': ('B12/B11', (u<=p).double().mean(), '0.0%'),
               'mean activation': ('AVERAGE(activations)', x.mean(), '0.0000'), 'mean of the output': ('AVERAGE(output)', out.mean(), '0.0000'),
               'positive activations': ('COUNTIF(activations,">0")', int((x>0).sum()), '0'),
               'positive outputs': ('COUNTIF(output,">0")', int((out>0).sum()), '0')}
    for k, (name, (formula, value, form)) in enumerate(results.items()):
        book.note(ws, 11+k, 1, name, PLAIN)
        book.formulas(ws, 11+k, 2, formula, value, form)
    book.head(ws, 20, 1, 'at this p, in training', 'positive')
    rates = [0, .2, .4, .5, .6, .8, .9]
    book.inputs(ws, 21, 1, [[q] for q in rates], '0.0')
    book.formulas(ws, 21, 2, lambda i, j: f'SUMPRODUCT((activations>0)*(random_numbers>A{21+i}))', [[int(((x>0)*(u>q)).sum())] for q in rates], '0')


# ---- Collaborative filtering
people = 'Ann Bob Cay Dan Eve Flo Gus Hal Ida Jan Kit Lea Max Ned Ola'.split()
films = ['Alien', 'Casablanca', 'Blade Runner', 'Psycho', 'The Matrix', 'Vertigo', 'Die Hard', 'Rear Window', 'Star Wars', 'Some Like It Hot',
         'Terminator', 'Notorious', 'Total Recall', 'Gilda', 'Robocop']
first, step_rows, n_steps = 22, 24, 15  # row of the first block of a step, rows of a block, number of steps

def invented():
    "15 × 15 ratings from 1 to 5, NaN for a gap: everyone leans toward new or old films, which alternate in the list"
    random = new_generator(8)
    new, taste = torch.tensor([1., -1]*7 + [1.]), torch.randn(15, 1, generator=random)
    liking = 3.2 + 1.1*taste*new + .4*torch.randn(15, 1, generator=random) + .4*torch.randn(1, 15, generator=random)
    ratings = (liking + .4*torch.randn(15, 15, generator=random)).round().clamp(1, 5).double()
    return ratings.masked_fill(torch.rand(15, 15, generator=random)<.2, torch.nan)

def collaborative_filtering()->Book:
    "Latent factors by gradient descent, without and with biases; and the same as a lookup"
    book = Book('Collaborative filtering', [
        'Fifteen invented people rated fifteen films; about one rating in five is missing (gray predictions). '
        'Each person and each film has five latent factors; the prediction is their dot product. '
        'Change a rating, delete one, or change the learning rate, and all steps of gradient descent follow.',
        f'“dot product” and “biases” show {n_steps} steps one below the other. “lookup” has one row for each rating: MATCH finds the index, INDEX the factors, '
        'which is what an embedding does; its RMSE is that of the last step.'], [
        'The course’s sheet leaves the optimization to Excel’s Solver, so that no step can be seen. Here each gradient is a formula.',
        'Its predictions of missing ratings are set to 0. Here they are shown, since they are what the model is for; they do not count in the loss.',
        'Its ratings are MovieLens’. These are invented: MovieLens does not allow redistribution.'],
        pages(Collaborative_filtering='collab', Embeddings='embedding', Gradient_descent='gradients'))
    ratings = invented()
    model = dot_product_sheet(book, ratings)
    biases_sheet(book, ratings)
    lookup_sheet(book, ratings, model)
    return book

def ratings_block(book, ws, ratings, title, settings):
    "The table of ratings, the settings, and a place for the RMSE of each step"
    book.note(ws, 1, 1, title, TITLE)
    for k, (name, value) in enumerate(settings.items()):
        book.note(ws, 3+k, 1, name, PLAIN)
        book.inputs(ws, 3+k, 2, value)
    book.head(ws, 2, 8, *films, turn=60)
    book.inputs(ws, 3, 7, [[n] for n in people])
    book.inputs(ws, 3, 8, [[None if math.isnan(r) else int(r) for r in row] for row in ratings.tolist()])
    book.colors(ws, 'H3:V17')
    book.head(ws, 2, 24, 'step', 'RMSE')

def step_head(book, ws, k, biased):
    "Headers and names of a block"
    r, extra = first + k*(step_rows+biased), int(biased)
    book.head(ws, r, 1, f'step {k}', *(f'factor {f+1}' for f in range(5)), *(['bias'] if biased else []))
    book.head(ws, r, 8, *films)
    book.head(ws, r, 24, *films)
    book.note(ws, r+1, 24, 'below: gradient of the loss with respect to each prediction' + (', before the sigmoid' if biased else ''))
    for i, name in enumerate(people): book.note(ws, r+6+extra+i, 1, name, BOLD)
    for f in range(5+extra): book.note(ws, r+1+f, 7, f'factor {f+1}' if f<5 else 'bias', BOLD)
    ws.conditional_formatting.add(span(r+6+extra, 8, 15, 15), FormulaRule(formula=['ISBLANK(H3)'], font=font(color='999999', italic=True)))
    return r

def pair_indices(ratings):
    "Users and items of the known ratings, and these ratings"
    known = ~ratings.isnan()
    return known.nonzero(), ratings[known]

def put_step(book, ws, k, r, model, ratings, low_high):
    "One step: factors (inputs at step 0), predictions, their gradients, RMSE"
    biased = low_high is not None
    up = r+6+biased  # first row of users and of predictions
    params = dict(user=(up, 2, model.user_factors), item=(r+1, 8, model.item_factors.T))
    if biased: params |= dict(user_bias=(up, 7, model.user_bias[:,None]), item_bias=(r+6, 8, model.item_bias[None]))
    updates = update_formulas(r, up, step_rows+biased)
    for name, (row, column, value) in params.items():
        if k: book.formulas(ws, row, column, updates[name], value.detach())
        else: book.inputs(ws, row, column, value.detach(), '0.00')
        book.colors(ws, span(row, column, *value.shape), middle=True)
    def dot(i, j): return f'SUMPRODUCT(MMULT({span(up+i, 2, 1, 5)},{span(r+1, 8+j, 5, 1)}))'
    def scaled(i, j): return f'$B$4+($B$5-$B$4)/(1+EXP(-({dot(i, j)}+{cell(up+i, 7)}+{cell(r+6, 8+j)})))' if biased else dot(i, j)
    book.formulas(ws, up, 8, scaled, all_pairs(model))
    def gradient(i, j):
        rating, pred = cell(3+i, 8+j), cell(up+i, 8+j)
        inner = f'*({pred}-$B$4)*($B$5-{pred})/($B$5-$B$4)' if biased else ''
        return f'IF({rating}="",0,2*({pred}-{rating})/COUNT($H$3:$V$17){inner})'
    book.formulas(ws, up, 24, gradient, pair_gradients(model, ratings), '0.0000')
    book.colors(ws, span(up, 24, 15, 15), middle=True)
    area = span(up, 8, 15, 15, fixed=True)
    book.inputs(ws, 3+k, 24, k)
    book.formulas(ws, 3+k, 25, f'SQRT(SUMPRODUCT(($H$3:$V$17<>"")*({area}-$H$3:$V$17)^2)/COUNT($H$3:$V$17))',
                  mse(all_pairs(model)[~ratings.isnan()], pair_indices(ratings)[1]).sqrt(), '0.000')

def update_formulas(r, up, back):
    "A parameter minus learning rate times gradient; both stand one block, `back` rows, higher"
    def row_of(i): return span(up-back+i, 24, 1, 15)
    def column_of(j): return span(up-back, 24+j, 15, 1)
    def was(row, column): return f'{cell(row-back, column)}-$B$3*'
    return dict(
        user=lambda i, f: f'{was(up+i, 2+f)}SUMPRODUCT({row_of(i)},{span(r+1-back+f, 8, 1, 15)})',
        item=lambda f, j: f'{was(r+1+f, 8+j)}SUMPRODUCT({column_of(j)},{span(up-back, 2+f, 15, 1)})',
        user_bias=lambda i, _: f'{was(up+i, 7)}SUM({row_of(i)})', item_bias=lambda _, j: f'{was(r+6, 8+j)}SUM({column_of(j)})')

def all_pairs(model):
    "The prediction for everybody and every film"
    grid = torch.cartesian_prod(torch.arange(15), torch.arange(15))
    return model(grid).view(15, 15).detach()

def pair_gradients(model, ratings):
    "The gradient of the MSE with respect to each prediction before the sigmoid; 0 for a gap"
    before = all_pairs(model)
    if model.y_range is not None:
        plain = DotProductBias(15, 15, 5, y_range=None).double()
        plain.load_state_dict(model.state_dict())
        before = all_pairs(plain)
    before.requires_grad_()
    known = ~ratings.isnan()
    mse(apply_y_range(before, model.y_range)[known], ratings[known]).backward()
    return before.grad

def run_steps(book, ws, model, ratings, lr, low_high):
    "All blocks, each with the library's step between them"
    x, y = pair_indices(ratings)
    for k in range(n_steps+1):
        r = step_head(book, ws, k, low_high is not None)
        put_step(book, ws, k, r, model, ratings, low_high)
        if k<n_steps:
            mse(model(x), y).backward()
            sgd_step(model.parameters(), lr)
    chart = LineChart()
    chart.title, chart.height, chart.width, chart.legend = 'RMSE after each step', 7, 14, None
    chart.add_data(Reference(ws, min_col=25, min_row=3, max_row=3+n_steps))
    chart.set_categories(Reference(ws, min_col=24, min_row=3, max_row=3+n_steps))
    ws.add_chart(chart, 'AA2')

def start(model, seed, low, high):
    "Initial weights with two decimals, uniform between low and high, drawn with one seed"
    random = new_generator(seed)
    model = model.double()
    with torch.no_grad():
        for p in model.parameters(): p.copy_((torch.rand(p.shape, generator=random).double()*(high-low) + low).mul(100).round()/100)
    return model

def dot_product_sheet(book, ratings):
    "The model without biases"
    ws = book.sheet('dot product', 'B3', {1: 16, range(2, 8): 9, range(8, 39): 11})
    ratings_block(book, ws, ratings, 'Predictions are dot products', {'learning rate': 2})
    model = start(DotProduct(15, 15, 5), 0, 0, 1)
    run_steps(book, ws, model, ratings, 2., None)
    return model

def biases_sheet(book, ratings):
    "The model with biases and a range"
    ws = book.sheet('biases', 'B3', {1: 16, range(2, 8): 9, range(8, 39): 11})
    ratings_block(book, ws, ratings, 'With biases, and a sigmoid that keeps predictions in a range',
                  {'learning rate': 3, 'lower end': 0, 'upper end': 5.5})
    run_steps(book, ws, start(DotProductBias(15, 15, 5, (0., 5.5)), 0, -.5, .5), ratings, 3., (0, 5.5))

def lookup_sheet(book, ratings, model):
    "A row for each rating: indices, factors, prediction"
    ws = book.sheet('lookup', 'A3', {1: 9, 2: 18, range(3, 18): 9})
    x, y = pair_indices(ratings)
    n, r = len(x), first + n_steps*step_rows
    book.note(ws, 1, 1, 'An embedding is a lookup: the factors of the last step', TITLE)
    vectors = [f'{who} {f+1}' for who in ('person', 'film') for f in range(5)]
    book.head(ws, 2, 1, 'person', 'film', 'rating', 'row', 'column', *vectors, 'prediction', 'error²')
    book.formulas(ws, 3, 1, lambda i, j: f"INDEX('dot product'!$G$3:$G$17,{int(x[i,0])+1})", [[people[u]] for u in x[:,0]])
    book.formulas(ws, 3, 2, lambda i, j: f"INDEX('dot product'!$H$2:$V$2,{int(x[i,1])+1})", [[films[m]] for m in x[:,1]])
    book.formulas(ws, 3, 3, lambda i, j: f"'dot product'!{cell(3+int(x[i,0]), 8+int(x[i,1]))}", y[:,None], '0')
    book.formulas(ws, 3, 4, lambda i, j: f"MATCH(A{3+i},'dot product'!$G$3:$G$17,0)", x[:,:1]+1, '0')
    book.formulas(ws, 3, 5, lambda i, j: f"MATCH(B{3+i},'dot product'!$H$2:$V$2,0)", x[:,1:]+1, '0')
    tables = {'user_factors': (r+6, 2, 15, 5), 'film_factors': (r+1, 8, 5, 15)}
    for name, area in tables.items(): book.name(book.workbook['dot product'], name, *area)
    users, items = model.user_factors.detach()[x[:,0]], model.item_factors.detach()[x[:,1]]
    book.formulas(ws, 3, 6, lambda i, j: f'INDEX(user_factors,$D{3+i},{j+1})', users)
    book.formulas(ws, 3, 11, lambda i, j: f'INDEX(film_factors,{j+1},$E{3+i})', items)
    pred = model(x).detach()
    book.formulas(ws, 3, 16, lambda i, j: f'SUMPRODUCT(F{3+i}:J{3+i},K{3+i}:O{3+i})', pred[:,None])
    book.formulas(ws, 3, 17, lambda i, j: f'(C{3+i}-P{3+i})^2', (pred-y).square()[:,None])
    book.head(ws, 2, 19, 'RMSE')
    book.formulas(ws, 3, 19, f'SQRT(AVERAGE(Q3:Q{2+n}))', mse(pred, y).sqrt(), '0.000')


# ---- Words
poem = """Who has seen the wind? Neither I nor you:
But when the leaves hang trembling The wind is passing thro'.
Who has seen the wind? Neither you nor I:
But when the trees bow down their heads The wind is passing by."""

def words()->Book:
    "A poem as IDs and embedding vectors"
    book = Book('Words as embeddings', [
        'Each word of Christina Rossetti’s poem becomes a token, each token its ID in the vocabulary, each ID a row of the embedding matrix. '
        'MATCH finds the ID, INDEX the row.',
        'Change a word of the text: one that the vocabulary does not have gets ID 0, #na#. '
        'On the sheet “one-hot” the same row comes out of a matrix product.'], [
        'The five columns of latent factors were headed 1, 2, 3, 4 beside “Embeddings”, as if there were four. Here all five are numbered.',
        'MATCH was called without its third argument, 0, so that an unknown word got the vector of the word before it in the alphabet. '
        'Here unknown words have an ID and a vector of their own, as in fastai.',
        'IDs start at 0, as in Python; INDEX counts from 1, therefore the + 1 in its formulas.'],
        pages(Text='text', Embeddings='embedding', Errata='errata'))
    raw = poem.split()
    tokens = tokenize(poem)
    vocab = Vocab(tokens, 'word')
    names, ids = vocab.decode(torch.arange(len(vocab))), numericalize(tokens, vocab)
    weight = Embedding(len(vocab), 5, std=1., generator=new_generator(0)).double()
    vocabulary_sheet(book, names, weight)
    ws = book.sheet('text', 'C3', {1: 14, 2: 14, range(3, 9): 10})
    book.note(ws, 1, 1, 'From words to vectors', TITLE)
    book.head(ws, 2, 1, 'word', 'token', 'ID', *(f'factor {f+1}' for f in range(5)))
    book.inputs(ws, 3, 1, [[w] for w in raw])
    def token(i, j):
        text = f'A{3+i}'
        for mark in ".,:;?!'": text = f'SUBSTITUTE({text},"{mark}","")'
        return f'LOWER({text})'
    book.formulas(ws, 3, 2, token, [[t] for w in raw for t in tokenize(w)])
    book.formulas(ws, 3, 3, lambda i, j: f'IFERROR(MATCH(B{3+i},vocabulary,0)-1,0)', ids[:,None], '0')
    book.formulas(ws, 3, 4, lambda i, j: f'INDEX(embedding,$C{3+i}+1,{j+1})', weight(ids).detach())
    book.colors(ws, span(3, 4, len(raw), 5), middle=True)
    one_hot_sheet(book, names, weight)
    return book

def vocabulary_sheet(book, names, weight):
    "All tokens, sorted, with ID and vector; before training the vectors are random"
    ws = book.sheet('vocabulary', 'C3', {1: 8, 2: 14, range(3, 8): 10})
    book.note(ws, 1, 1, 'The embedding matrix: a row for each word, random before training', TITLE)
    book.head(ws, 2, 1, 'ID', 'token', *(f'factor {f+1}' for f in range(5)))
    book.formulas(ws, 3, 1, lambda i, j: 'ROW()-3', [[i] for i in range(len(names))], '0')
    book.inputs(ws, 3, 2, [[n] for n in names], name='vocabulary')
    book.inputs(ws, 3, 3, weight.weight.detach(), '0.00', 'embedding')
    book.colors(ws, span(3, 3, len(names), 5), middle=True)

def one_hot_sheet(book, names, weight):
    "A one-hot vector times the matrix is a row of the matrix; words unknown to the vocabulary are #na#"
    ws = book.sheet('one-hot', 'B3', {1: 14, range(2, 3+len(names)): 8})
    book.note(ws, 1, 1, 'One-hot vector × embedding matrix = the row that INDEX finds', TITLE)
    book.head(ws, 2, 1, 'token', 'ID', *names, turn=60)
    tried = ['the', 'wind', 'heads', 'fox']
    ids = numericalize(tried, Vocab(names[1:], 'word', sort=False))
    book.inputs(ws, 3, 1, [[t] for t in tried])
    book.formulas(ws, 3, 2, lambda i, j: f'IFERROR(MATCH(A{3+i},vocabulary,0)-1,0)', ids[:,None], '0')
    book.formulas(ws, 3, 3, lambda i, j: f'IF({j}=$B{3+i},1,0)', one_hot(ids, len(names)), '0')
    book.head(ws, 9, 1, 'product', '', *(f'factor {f+1}' for f in range(5)), 'lookup', *(f'factor {f+1}' for f in range(5)))
    book.formulas(ws, 10, 1, lambda i, j: f'A{3+i}', [[t] for t in tried])
    vectors, n = weight(ids).detach(), len(names)
    book.formulas(ws, 10, 3, lambda i, j: f'SUMPRODUCT(MMULT({span(3+i, 3, 1, n)},INDEX(embedding,0,{j+1})))', one_hot(ids, n).double()@weight.weight.detach())
    book.formulas(ws, 10, 9, lambda i, j: f'INDEX(embedding,$B{3+i}+1,{j+1})', vectors)
    book.head(ws, 16, 1, 'dot products', '', *tried)
    book.formulas(ws, 17, 1, lambda i, j: f'A{3+i}', [[t] for t in tried])
    book.formulas(ws, 17, 3, lambda i, j: f'SUMPRODUCT({span(10+i, 3, 1, 5)},{span(10+j, 3, 1, 5)})', vectors@vectors.T)


# ---- Gradient descent and optimizers
course_x = [14, 86, 28, 51, 28, 29, 72, 62, 84, 15, 42, 62, 47, 35, 9, 38, 44, 99, 13, 21, 28, 20, 8, 64, 99, 70, 27, 17, 8]
epochs, top_row = 5, 8  # top_row: of the first step
optimizers = {'SGD': (SGD, {}, 1e-4), 'momentum': (SGD, {'momentum': .9}, 1e-5), 'RMSprop': (RMSprop, {'alpha': .9, 'eps': 1e-8}, .1),
              'Adam': (Adam, {'betas': (.9, .999), 'eps': 1e-8}, .5)}

def gradient_descent()->Book:
    "A line through the course's 29 points, one point a step, with four optimizers"
    book = Book('Gradient descent and optimizers', [
        'A line is fitted to the course’s 29 points of y = 2x + 30, from slope 1 and intercept 1. Each row is a step on one point; '
        'after 29 rows an epoch is over. '
        'One sheet for each optimizer: SGD, momentum, RMSprop, Adam. Change the learning rate, the start, or the points. “compare” has the RMSE of each epoch.',
        'On the sheet SGD, the derivatives are also estimated: move a parameter a little both ways and see how much the squared error changes.'], [
        'A cell labeled rmse held the square root of the SUM of the squared errors, 150.755 after one epoch. The root of their MEAN is 27.995.',
        'RMSprop divided by the root of the previous average and had no ε; Adam had neither ε nor bias correction; momentum averaged, '
        'with a factor 1 − β. All formulas here are PyTorch’s (and lesson8lib’s).',
        'The derivative was estimated from one side, which is off by the curvature. Here the difference is central.'],
        pages(Optimizers='optimizers', Gradients='gradients', Errata='errata'))
    ws = book.sheet('points', 'A6', {range(1, 4): 12})
    book.note(ws, 1, 1, 'The points', TITLE)
    for k, (name, value) in enumerate({'slope': 2, 'intercept': 30}.items()):
        book.note(ws, 2+k, 1, name, PLAIN)
        book.inputs(ws, 2+k, 2, value)
    book.head(ws, 5, 1, 'x', 'y')
    x = torch.tensor(course_x).double()
    book.inputs(ws, 6, 1, x.int()[:,None], name='xs')
    book.formulas(ws, 6, 2, lambda i, j: f'$B$2*A{6+i}+$B$3', (2*x+30)[:,None], '0', 'ys')
    errors = {name: optimizer_sheet(book, name, *settings) for name, settings in optimizers.items()}
    compare_sheet(book, errors)
    return book

def run_optimizer(kind, options, lr):
    "Every step of the library's optimizer: parameters before and after, gradients, averages"
    p = torch.ones(2, dtype=torch.float64, requires_grad=True)  # slope, intercept
    opt, rows = kind([p], lr, **options), []
    for t in range(29*epochs):
        x = course_x[t%29]
        y, before = 2*x+30, p.detach().clone()
        def loss(q, x=x, y=y): return (q[0]*x + q[1] - y).square()
        opt.zero_grad()
        loss(p).backward()
        estimate, grad = numeric_gradient(loss, before, h=.01), p.grad.clone()
        opt.step()
        rows.append(dict(x=x, y=y, before=before, error=loss(before), estimate=estimate, grad=grad, after=p.detach().clone(),
                         state={k: v for k, v in opt.states[0].items() if k!='t'}))
    return rows

def optimizer_sheet(book, name, kind, options, lr):
    "The settings on top, then a row for each step; slope before intercept, as in a line's formula"
    ws = book.sheet(name, f'B{top_row}', {1: 14, range(2, 20): 11.5})
    book.note(ws, 1, 1, f'{name}: a point a step', TITLE)
    flat = {'learning rate': lr} | {k: v for k, v in options.items() if k!='betas'}
    if 'betas' in options: flat = {'learning rate': lr, 'beta 1': .9, 'beta 2': .999, 'eps': 1e-8}
    for k, (label, value) in enumerate(flat.items()):
        book.note(ws, 2+k, 1, label, PLAIN)
        book.inputs(ws, 2+k, 2, value)
    rows = run_optimizer(kind, options, lr)
    put(book, ws, 1, 'step', lambda i: f'ROW()-{top_row-1}', [i+1 for i in range(len(rows))], '0')
    put(book, ws, 2, 'x', lambda i: f'INDEX(xs,MOD(A{top_row+i}-1,29)+1)', [s['x'] for s in rows], '0')
    put(book, ws, 3, 'y', lambda i: f'INDEX(ys,MOD(A{top_row+i}-1,29)+1)', [s['y'] for s in rows], '0')
    columns = next_parameters(book, ws, name, rows)
    for j, label in enumerate(('slope', 'intercept')):
        book.head(ws, top_row-1, 4+j, label)
        book.inputs(ws, top_row, 4+j, 1)
        book.formulas(ws, top_row+1, 4+j, lambda i, _, j=j: cell(top_row+i, columns[j]), [[float(s['before'][j])] for s in rows[1:]], '0.0000')
    put(book, ws, 6, 'prediction', lambda i: 'D{0}*B{0}+E{0}'.format(top_row+i), [s['before'][0]*s['x']+s['before'][1] for s in rows])
    put(book, ws, 7, 'error²', lambda i: '(F{0}-C{0})^2'.format(top_row+i), [s['error'] for s in rows])
    put(book, ws, 8, 'd/d slope', lambda i: '2*(F{0}-C{0})*B{0}'.format(top_row+i), [s['grad'][0] for s in rows])
    put(book, ws, 9, 'd/d intercept', lambda i: '2*(F{0}-C{0})'.format(top_row+i), [s['grad'][1] for s in rows])
    return [s['error'] for s in rows]

def put(book, ws, column, label, formula, values, form='0.0000'):
    "A column with a header"
    book.head(ws, top_row-1, column, label)
    book.formulas(ws, top_row, column, lambda i, j: formula(i), [[float(v)] for v in values], form)

def next_parameters(book, ws, name, rows):
    "The columns in which the optimizers differ; returns those of the new slope and intercept"
    r = top_row
    if name=='SGD': estimates(book, ws, rows)
    if name=='momentum': past(book, ws, 10, 'sum', '{g}', '$B$3', 'm', rows)
    if name=='RMSprop': past(book, ws, 10, 'average of squares', '(1-$B$3)*{g}^2', '$B$3', 'v', rows)
    if name=='Adam':
        past(book, ws, 10, 'average', '(1-$B$3)*{g}', '$B$3', 'm', rows)
        past(book, ws, 12, 'average of squares', '(1-$B$4)*{g}^2', '$B$4', 'v', rows)
    move = {'SGD': '{g}', 'momentum': '{a}', 'RMSprop': '{g}/(SQRT({a})+$B$4)',
            'Adam': '({a}/(1-$B$3^{t}))/(SQRT({b}/(1-$B$4^{t}))+$B$5)'}[name]
    at = 14 if name=='Adam' else 12
    for j, label in enumerate(('slope', 'intercept')):
        def new(i, j=j):
            where = dict(g=cell(r+i, 8+j), a=cell(r+i, 10+j), b=cell(r+i, 12+j), t=cell(r+i, 1))
            return f'{cell(r+i, 4+j)}-$B$2*{move.format(**where)}'
        put(book, ws, at+j, f'new {label}', new, [s['after'][j] for s in rows])
    return at, at+1

def past(book, ws, column, label, now, kept, key, rows):
    "A decaying sum or average for each parameter: what is new, plus a fraction of the row above"
    for j, name in enumerate(('slope', 'intercept')):
        def formula(i, j=j):
            above = f'+{kept}*{cell(top_row+i-1, column+j)}' if i else ''
            return now.format(g=cell(top_row+i, 8+j)) + above
        put(book, ws, column+j, f'{label}, {name}', formula, [s['state'][key][j] for s in rows])

def estimates(book, ws, rows):
    "Central differences of the squared error"
    for j, label in enumerate(('slope', 'intercept')):
        def formula(i, j=j):
            x, y, a, b = (cell(top_row+i, c) for c in (2, 3, 4, 5))
            up, down = (f'(({a}{h})*{x}+{b}-{y})^2' if j==0 else f'({a}*{x}+{b}{h}-{y})^2' for h in ('+0.01', '-0.01'))
            return f'({up}-{down})/0.02'
        put(book, ws, 10+j, f'estimated d/d {label}', formula, [s['estimate'][j] for s in rows])

def compare_sheet(book, errors):
    "RMSE of each epoch, with a picture"
    ws = book.sheet('compare', 'B3', {range(1, 6): 12})
    book.note(ws, 1, 1, 'RMSE of each epoch', TITLE)
    book.head(ws, 2, 1, 'epoch', *errors)
    book.inputs(ws, 3, 1, [[e+1] for e in range(epochs)])
    names = list(errors)
    def rmse(i, j): return f"SQRT(AVERAGE('{names[j]}'!{span(top_row+29*i, 7, 29, 1, fixed=True)}))"
    values = [[torch.stack(errors[n][29*e:29*(e+1)]).mean().sqrt().item() for n in names] for e in range(epochs)]
    book.formulas(ws, 3, 2, rmse, values, '0.000')
    book.colors(ws, span(3, 2, epochs, 4))
    chart = LineChart()
    chart.title, chart.height, chart.width = 'RMSE of each epoch', 8, 16
    chart.add_data(Reference(ws, min_col=2, max_col=5, min_row=2, max_row=2+epochs), titles_from_data=True)
    chart.set_categories(Reference(ws, min_col=1, min_row=3, max_row=2+epochs))
    ws.add_chart(chart, 'G2')


# ---- Titanic
columns = {'Survived': '0', 'Embarked': '@', 'Pclass': '0', 'Sex': '@', 'Age': '0', 'Fare': '0.00', 'SibSp': '0', 'Parch': '0'}
first_row = 5  # of the passengers, on each sheet

def titanic(
    trained:int=1, # 0: from the initial weights
)->Book:
    "Who survived: a linear model, and the sum of two ReLUs with one step of gradient descent"
    book = Book('Titanic', [
        'The 712 passengers with known age and port. “inputs” makes ten columns of numbers from them; “linear” has the best linear model (LINEST); '
        '“two ReLUs” adds two linear models, each cut off at zero.',
        'On “two ReLUs”, set trained to 0 to start from random weights. To take a step of gradient descent by hand, copy the new weights over the '
        'initial or trained ones (paste values), or let Solver minimize the loss.'], [
        'The course’s sheet has no slip that we know of. It takes log10 of the fare and leaves it as it is; here, as in the course’s notebook, it is ln, '
        'divided by the maximum, like the age. SibSp and Parch are divided by theirs, too.',
        'Its weights come from Solver: loss .14423 linear, .14315 with two ReLUs. The best linear model has no lower loss; two ReLUs have, here .1334.'],
        pages(Titanic='titanic', ReLUs='relus', Matrices='matrices'))
    df = complete()
    x, names = exact_inputs(df)
    inputs_sheet(book, df, x, names)
    y = torch.tensor(df.Survived.to_numpy()).double()
    linear_sheet(book, x, y, names)
    relus_sheet(book, x, y, names, trained)
    return book

def exact_inputs(df):
    "`prepare_titanic` before it rounds to float32, which is checked"
    import numpy as np
    made = prepare_titanic(df, full=False)
    raw = {c: df[c].to_numpy(float) for c in ('Age', 'SibSp', 'Parch')} | {'LogFare': np.log(df.Fare.to_numpy()+1)}
    parts = [raw[c]/made.maxima[c] if c in raw else made.x[:,i].double().numpy() for i, c in enumerate(made.names)]
    x = torch.from_numpy(np.stack(parts, 1))
    if not torch.equal(x.float(), made.x): raise ValueError('`exact_inputs` must agree with `prepare_titanic`')
    return x, made.names

def inputs_sheet(book, df, x, names):
    "Passengers, and the columns made of them"
    n, r = len(df), first_row
    ws = book.sheet('inputs', f'B{r}', {range(1, 9): 11, 9: 3, range(10, 20): 13})
    book.note(ws, 1, 1, 'From passengers to numbers', TITLE)
    book.head(ws, r-1, 1, *columns)
    for j, (c, form) in enumerate(columns.items()): book.inputs(ws, r, 1+j, [[v] for v in df[c].tolist()], form)
    place = {c: cell(r, 1+j)[0] for j, c in enumerate(columns)}
    book.note(ws, 2, 1, 'maximum of each column, by which numbers are divided:')
    for c in ('Age', 'Fare', 'SibSp', 'Parch'):
        book.formulas(ws, 3, 1+list(columns).index(c), f'MAX({place[c]}{r}:{place[c]}{r+n-1})', float(df[c].max()))
    book.head(ws, r-1, 10, *names)
    for j, name in enumerate(names):
        make = input_formula(name, place)
        if name=='Ones': book.inputs(ws, r, 10+j, [[1]]*n)
        else: book.formulas(ws, r, 10+j, lambda i, _, make=make: make(i), x[:,j:j+1], '0.000' if '_' not in name else '0')
    book.name(ws, 'survived', r, 1, n)
    book.name(ws, 'x', r, 10, n, 10)

def input_formula(name, place):
    "The formula of a column of `prepare_titanic`, for a row of the sheet"
    r = first_row
    if name=='LogFare': return lambda i: f'LN({place["Fare"]}{r+i}+1)/LN({place["Fare"]}$3+1)'
    if '_' not in name: return lambda i: f'{place.get(name)}{r+i}/{place.get(name)}$3'
    c, level = name.split('_')
    level = level if level.isdigit() else f'"{level}"'
    return lambda i: f'IF({place[c]}{r+i}={level},1,0)'

def linear_sheet(book, x, y, names):
    "The best linear model, found by LINEST"
    n, r = len(x), first_row+12
    ws = book.sheet('linear', f'A{r}', {1: 14, range(2, 4): 12})
    solution = torch.linalg.lstsq(x, y[:,None], driver='gelsd').solution
    pred = (x@solution)[:,0]
    book.note(ws, 1, 1, 'The best linear model', TITLE)
    book.head(ws, 3, 1, 'column', 'weight')
    book.inputs(ws, 4, 1, [[c] for c in names])
    book.formulas(ws, 4, 2, lambda i, j: f'INDEX(LINEST(survived,x,FALSE),1,{10-i})', solution, '0.0000', 'weights')
    book.head(ws, 3, 4, 'loss (MSE)', 'accuracy')
    book.head(ws, r-1, 1, 'survived', 'prediction', 'error²')
    results(book, ws, 4, 4, pred, y, f'B{r}:B{r+n-1}')
    book.formulas(ws, r, 1, lambda i, j: f'inputs!A{first_row+i}', y[:,None], '0')
    book.formulas(ws, r, 2, lambda i, j: f'SUMPRODUCT(MMULT(inputs!{span(first_row+i, 10, 1, 10)},weights))', pred[:,None], '0.000')
    book.formulas(ws, r, 3, lambda i, j: f'(B{r+i}-A{r+i})^2', (pred-y).square()[:,None], '0.0000')

def results(book, ws, row, column, pred, y, area):
    "Loss and accuracy of the predictions in an area"
    right = ((pred>.5)==(y==1)).double().mean()
    book.formulas(ws, row, column, f'SUMPRODUCT(({area}-survived)^2)/ROWS(survived)', mse(pred, y), '0.00000')
    book.formulas(ws, row, column+1, f'SUMPRODUCT(--(({area}>0.5)=(survived=1)))/ROWS(survived)', right, '0.0%')

def relus_sheet(book, x, y, names, trained):
    "Two linear models, two ReLUs, their sum; then the gradient and one step"
    n, r = len(x), first_row+16
    ws = book.sheet('two ReLUs', f'A{r}', {1: 14, range(2, 20): 12})
    weights = two_relu_weights()
    model = TitanicNet('two ReLUs', 10).double()
    with torch.no_grad(): model.weights[0].copy_(weights[trained])
    book.note(ws, 1, 1, 'The sum of two ReLUs', TITLE)
    for k, (label, value) in enumerate({'trained? 1 or 0': trained, 'learning rate': .1}.items()):
        book.note(ws, 2, 1+3*k, label, PLAIN)
        book.inputs(ws, 2, 2+3*k, value)
    book.head(ws, 4, 1, 'column', 'trained 1', 'trained 2', 'initial 1', 'initial 2', 'in use 1', 'in use 2', 'gradient 1', 'gradient 2', 'new 1', 'new 2')
    book.inputs(ws, 5, 1, [[c] for c in names])
    book.inputs(ws, 5, 2, weights[1], '0.0000')
    book.inputs(ws, 5, 4, weights[0], '0.0000')
    book.formulas(ws, 5, 6, lambda i, j: f'IF($B$2=1,{cell(5+i, 2+j)},{cell(5+i, 4+j)})', weights[trained], '0.0000')
    lin, pred = (x@weights[trained]), model(x)
    loss = mse(pred, y)
    loss.backward()
    grad = model.weights[0].grad.clone()
    sgd_step(model.parameters(), .1)
    last = r+n-1
    def gradient(i, j):
        column = span(first_row, 10+i, n, 1, fixed=True)
        return f'2/ROWS(survived)*SUMPRODUCT($F${r}:$F${last}-survived,--({"BC"[j]}${r}:{"BC"[j]}${last}>0),inputs!{column})'
    book.formulas(ws, 5, 8, gradient, grad, '0.00000')
    book.formulas(ws, 5, 10, lambda i, j: f'{cell(5+i, 6+j)}-$E$2*{cell(5+i, 8+j)}', model.weights[0].detach(), '0.0000')
    book.head(ws, 16, 1, 'loss (MSE)', 'accuracy')
    results(book, ws, 17, 1, pred.detach(), y, f'F{r}:F{last}')
    book.head(ws, r-1, 1, 'survived', 'linear 1', 'linear 2', 'ReLU 1', 'ReLU 2', 'prediction', 'error²')
    book.formulas(ws, r, 1, lambda i, j: f'inputs!A{first_row+i}', y[:,None], '0')
    def linear(i, j): return f'SUMPRODUCT(MMULT(inputs!{span(first_row+i, 10, 1, 10)},{span(5, 6+j, 10, 1, fixed=True)}))'
    book.formulas(ws, r, 2, linear, lin, '0.000')
    book.formulas(ws, r, 4, lambda i, j: f'MAX(0,{"BC"[j]}{r+i})', lin.relu(), '0.000')
    book.formulas(ws, r, 6, lambda i, j: f'D{r+i}+E{r+i}', pred.detach()[:,None], '0.000')
    book.formulas(ws, r, 7, lambda i, j: f'(F{r+i}-A{r+i})^2', (pred.detach()-y).square()[:,None], '0.0000')

def complete():
    "Passengers whose age and port are known"
    return load_titanic().dropna(subset=['Age', 'Embarked']).reset_index(drop=True)

@cache
def two_relu_weights():
    "Weights before and after the page's training, of the best of its ten seeds"
    df = complete()
    made, y = prepare_titanic(df, full=False), torch.tensor(df.Survived.to_numpy('float32'))
    runs = [fit_titanic(made.x, y, 'two ReLUs', new_generator(s)) for s in range(10)]
    best = min(range(10), key=lambda s: mse(runs[s](made.x), y).item())
    initial = TitanicNet('two ReLUs', 10, new_generator(best))
    return [m.weights[0].detach().double() for m in (initial, runs[best])]


# ---- The flow
books = {f.__name__: f for f in (convolution, dropout, collaborative_filtering, words, gradient_descent, titanic)}

def build(
    folder:Path, # made if it is not there
)->list[Path]: # the six files
    "Write the six workbooks"
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    for name, make in books.items(): make().save(folder/f'{name}.xlsx')
    return [folder/f'{name}.xlsx' for name in books]

if __name__=='__main__':
    for path in build(Path(sys.argv[1]) if len(sys.argv)>1 else ROOT/'_sheets'): print(path)
