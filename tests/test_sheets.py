"The spreadsheets, recalculated by LibreOffice: each formula gives what the library computes"
import os
import re
import shutil
import subprocess

import pytest

pytest.importorskip('openpyxl', reason='openpyxl (extra `docs`) is not installed')
import sheets
from conftest import ROOT
from openpyxl import load_workbook

OFFICE = shutil.which('soffice') or shutil.which('libreoffice')
# the defaults, and the same with the switches in their other positions
VARIANTS = {'dropout_in_evaluation': ('dropout', dict(training=0)), 'dropout_of_the_course': ('dropout', dict(p=.9, rescale=0)),
            'dropout_of_everything': ('dropout', dict(p=1.)), 'dropout_of_nothing': ('dropout', dict(p=0.)), 'titanic_untrained': ('titanic', dict(trained=0))}
ALL = {name: (name, {}) for name in sheets.books} | VARIANTS
# one formula in each workbook, changed: workbook -> sheet, cell, and what becomes what in its formula
WRONG = {'convolution': ('network', 'CE18', ',', '+'), 'dropout': ('dropout', 'B13', 'B11', '600'), 'collaborative_filtering': ('dot product', 'C60', '-', '+'),
         'words': ('text', 'D9', '+1', '+2'), 'gradient_descent': ('Adam', 'N30', '-$B$2', '+$B$2'), 'titanic': ('two ReLUs', 'D400', '0', '0.5')}


def formulas(path):
    "What stands in each cell that begins with ="
    return {(ws.title, c.coordinate): c.value for ws in load_workbook(path) for row in ws.iter_rows() for c in row if c.data_type=='f'}

def off(got, want):
    "How far a value is from the library's: relative above 1, infinite for another type"
    if isinstance(want, str) or isinstance(got, str | None): return 0. if got==want else float('inf')
    return abs(got-want)/max(1, abs(want))

def differences(values, path):
    "For each formula of the library's values, how far LibreOffice's result is"
    book = load_workbook(path, data_only=True)
    return {(sheet, at): off(book[sheet][at].value, want) for (sheet, at), want in values.items()}


@pytest.fixture(scope='session')
def books():
    "All workbooks, with the library's values"
    return {file: sheets.books[name](**options) for file, (name, options) in ALL.items()}


@pytest.fixture(scope='session')
def recalculated(books, tmp_path_factory):
    "All workbooks, and a changed copy of each, written without values and converted by LibreOffice, which has to calculate them"
    if not OFFICE:
        if os.environ.get('LESSON8_NEED_OFFICE'): pytest.fail('LibreOffice is not installed (Debian: libreoffice-calc-nogui)')
        pytest.skip('LibreOffice is not installed: no spreadsheet was recalculated')
    folder = tmp_path_factory.mktemp('sheets')
    for file, book in books.items(): book.save(folder/f'{file}.xlsx', cached=False)
    for name, (sheet, at, old, new) in WRONG.items():
        cell = books[name].workbook[sheet][at]
        right = cell.value
        cell.value = new.join(right.rsplit(old, 1))
        assert cell.value != right, f'{name}, {sheet}!{at}: {right}'
        books[name].save(folder/f'wrong_{name}.xlsx', cached=False)
        cell.value = right
    redraw = books['dropout'].workbook['dropout']['B7']
    redraw.value = 1
    books['dropout'].save(folder/'redrawn.xlsx', cached=False)
    redraw.value = 0
    command = [OFFICE, '--headless', '--norestore', f'-env:UserInstallation={(folder/"profile").as_uri()}',
               '--convert-to', 'xlsx', '--outdir', folder/'out', *sorted(folder.glob('*.xlsx'))]
    done = subprocess.run(command, capture_output=True, encoding='utf-8', timeout=600)
    assert not done.returncode, done.stderr
    return folder


@pytest.mark.parametrize('name', ALL)
def test_every_formula_gives_the_librarys_value(recalculated, books, name):
    values = books[name].values
    assert set(formulas(recalculated/f'{name}.xlsx'))==set(values) and len(values)>200
    worst = differences(values, recalculated/'out'/f'{name}.xlsx')
    assert {at: (d, values[at]) for at, d in worst.items() if not d<=1e-9}=={}


@pytest.mark.parametrize('name', sheets.books)
def test_a_changed_formula_is_noticed(recalculated, books, name):
    assert max(differences(books[name].values, recalculated/'out'/f'wrong_{name}.xlsx').values())>1e-6


@pytest.mark.parametrize('name', sheets.books)
def test_nothing_is_pasted_and_values_are_there_for_what_cannot_calculate(books, tmp_path, name):
    "Two builds are equal; the files carry the library's values; the first sheet explains, and its links lead to pages that exist"
    for file in 'ab': sheets.books[name]().save(tmp_path/f'{file}.xlsx')
    assert (tmp_path/'a.xlsx').read_bytes()==(tmp_path/'b.xlsx').read_bytes()
    assert max(differences(books[name].values, tmp_path/'a.xlsx').values())<1e-12
    first = load_workbook(tmp_path/'a.xlsx').worksheets[0]
    pages = [c.hyperlink.target for (c,) in first.iter_rows() if c.hyperlink]
    stems = {re.sub(r'^\d+[a-z]?_', '', p.stem) for p in ROOT.glob('nbs/*.ipynb')}
    assert first.title=='read me' and pages and {p.rpartition('/')[2].removesuffix('.html') for p in pages}<=stems
    assert all(ws.freeze_panes for ws in load_workbook(tmp_path/'a.xlsx').worksheets[1:] if ws.title!='random numbers')


def test_new_random_numbers_are_drawn_and_obeyed(recalculated, books):
    "Where redraw is 1, the mask and the output follow from numbers that are not the page's"
    ws, values = load_workbook(recalculated/'out'/'redrawn.xlsx', data_only=True)['dropout'], books['dropout'].values
    old, new, mask, x, out = ([ws.cell(4+i, column+j).value if found else values['dropout', ws.cell(4+i, column+j).coordinate] for i in range(26) for j in range(26)]
                              for column, found in ((91, False), (91, True), (118, True), (64, True), (145, True)))
    assert all(0<=u<1 for u in new) and sum(a==b for a, b in zip(old, new, strict=True))<5
    assert mask==[int(u>.5) for u in new] and all(abs(o-2*a*m)<1e-12 for o, a, m in zip(out, x, mask, strict=True))


def test_the_site_offers_all_of_them(site):
    "Each file is there and linked from the errata and from a page of its own subject"
    linked = [name for page in site.glob('*.html') for name in set(re.findall(r'href="static/sheets/(\w+)\.xlsx"', page.read_text(encoding='utf-8')))]
    assert {p.stem for p in site.glob('static/sheets/*')}==set(sheets.books) and all(linked.count(name)>1 for name in sheets.books)


def test_the_slips_of_the_courses_sheets_are_mended(books):
    "The figures that the first sheets name"
    values = {name: book.values for name, book in books.items()}
    assert round(values['convolution']['cross-entropy', 'F7'], 4)==.1357 and round(values['convolution']['cross-entropy', 'C16'], 2)==3.81
    assert values['convolution']['network', 'AI4']=='conv1, top edge: 26 × 26' and values['convolution']['network', 'BN4']=='conv2, kernel A: 24 × 24'
    assert round(values['gradient_descent']['compare', 'B3'], 3)==27.995
    assert values['dropout']['dropout', 'B11']==676 and round(values['titanic']['linear', 'D4'], 5)==.14423
    assert round(values['titanic']['two ReLUs', 'A17'], 4)==.1334
