"A spreadsheet in which each formula stands beside the value that the library computes for it"
import io, re, zipfile
from collections.abc import Callable
from html import escape
from pathlib import Path

from openpyxl import Workbook
from openpyxl.formatting.rule import ColorScaleRule
from openpyxl.styles import Alignment, Font, PatternFill
from openpyxl.utils import absolute_coordinate, get_column_letter, quote_sheetname
from openpyxl.workbook.defined_name import DefinedName
from openpyxl.worksheet.properties import PageSetupProperties

def font(**options)->Font:
    "The font of all cells: without a name, programs choose different ones"
    return Font(**dict(name='Calibri', size=11) | options)

HEAD = dict(font=font(bold=True, color='FFFFFF'), fill=PatternFill('solid', fgColor='3B4A6B'))
INPUT = dict(font=font(color='1F4E9E'), fill=PatternFill('solid', fgColor='FFF8DC'))  # what a reader may change
PLAIN, BOLD, TITLE, NOTE = font(), font(bold=True), font(bold=True, size=14), font(italic=True, color='666666')
DAY = '2026-01-01T00:00:00Z'  # in the file's properties: what is built twice is equal


def cell(
    row:int, # from 1
    column:int, # from 1
    fixed:bool=False, # with dollar signs?
)->str: # as `B2`
    "Address of a cell"
    return ('${}${}' if fixed else '{}{}').format(get_column_letter(column), row)

def span(
    row:int, # of the first cell, from 1
    column:int, # of the first cell, from 1
    height:int, # rows
    width:int, # columns
    fixed:bool=False, # with dollar signs?
)->str: # as `B2:D4`
    "Address of a rectangle"
    return f'{cell(row, column, fixed)}:{cell(row+height-1, column+width-1, fixed)}'

def as_grid(
    values, # a tensor, or (lists of) numbers and texts
)->list[list]:
    "Rows of Python's own numbers and texts; one value is a grid of one cell, a list is a row"
    values = values.tolist() if hasattr(values, 'tolist') else values
    values = values if isinstance(values, list) else [values]
    return values if values and isinstance(values[0], list) else [values]


class Book:
    "A workbook with a first sheet that explains it; `values` has what the library computes for each formula"
    def __init__(self,
        title:str, # what it shows
        about:list[str], # paragraphs: what can be seen and changed
        slips:list[str], # what was wrong in the course's sheet, or differs from PyTorch
        pages:dict[str,str], # titles and addresses of the pages that explain it
    ):
        self.workbook, self.values = Workbook(), {}
        ws = self.workbook.active
        ws.title, ws.sheet_view.showGridLines = 'read me', False
        ws.column_dimensions['A'].width = 110
        lines = [(title, font(bold=True, size=16)), *((p, None) for p in about),
                 ('Blue numbers on yellow are inputs: change them. Everything else is a formula and follows. Empty '
                  'or zero in Excel? Press “Enable Editing”.', NOTE),
                 ('What was wrong in the course’s spreadsheet, and what is different here', BOLD), *(('• '+s, None) for s in slips),
                 ('Explained on', BOLD)]
        for text, style in lines: self._line(ws, text, style)
        for name, address in pages.items(): self._line(ws, name, font(color='1F4E9E', underline='single')).hyperlink = address

    def _line(self, ws, text, style):
        at = ws.cell(ws.max_row + (ws['A1'].value is not None), 1, text)
        at.alignment = Alignment(wrap_text=True, vertical='top')
        at.font = style or PLAIN
        ws.row_dimensions[at.row].height = 24 if at.font.size==16 else 15.5*(1 + len(text)//118)
        return at

    def sheet(self,
        title:str, # on the tab
        freeze:str, # first cell that scrolls
        widths:dict[int|range,float], # column or columns -> width in characters
    ):
        "Add a sheet"
        ws = self.workbook.create_sheet(title)
        ws.freeze_panes, ws.sheet_view.zoomScale = freeze, 85
        ws.page_setup.orientation, ws.page_setup.fitToHeight = 'landscape', 0  # printed as wide as a page
        ws.sheet_properties.pageSetUpPr = PageSetupProperties(fitToPage=True)
        for columns, width in widths.items():
            for c in ([columns] if isinstance(columns, int) else columns): ws.column_dimensions[get_column_letter(c)].width = width
        return ws

    def head(self, ws, row:int, column:int, *texts:str, turn:int=0):
        "Headers, side by side"
        if turn or max(map(len, texts))>11: ws.row_dimensions[row].height = 80 if turn else 31
        for j, text in enumerate(texts):
            at = ws.cell(row, column+j, text)
            at.font, at.fill, at.alignment = HEAD['font'], HEAD['fill'], Alignment('center', 'bottom' if turn else 'center', turn, wrap_text=True)

    def note(self, ws, row:int, column:int, text:str, style:Font=NOTE):
        "A remark, or a label"
        ws.cell(row, column, text).font = style

    def inputs(self, ws, row:int, column:int, values, form:str='General', name:str=''):
        "Numbers or texts that follow from nothing; None leaves a gap"
        values = as_grid(values)
        for i, line in enumerate(values):
            for j, value in enumerate(line):
                at = ws.cell(row+i, column+j, value)
                at.font, at.fill, at.number_format = INPUT['font'], INPUT['fill'], form
        if name: self.name(ws, name, row, column, len(values), len(values[0]))

    def formulas(self, ws, row:int, column:int, formula:Callable[[int,int],str]|str, values, form:str='0.00', name:str=''):
        "A grid of formulas, `formula(i, j)` in row i and column j, beside the library's values"
        values = as_grid(values)
        for i, line in enumerate(values):
            for j, value in enumerate(line):
                at = ws.cell(row+i, column+j, '=' + (formula if isinstance(formula, str) else formula(i, j)))
                at.number_format = form
                self.values[ws.title, at.coordinate] = value
        if name: self.name(ws, name, row, column, len(values), len(values[0]))

    def name(self, ws, name:str, row:int, column:int, height:int=1, width:int=1):
        "A named range"
        address = absolute_coordinate(span(row, column, height, width) if height*width>1 else cell(row, column))
        self.workbook.defined_names[name] = DefinedName(name, attr_text=f'{quote_sheetname(ws.title)}!{address}')

    def colors(self, ws, area:str, middle:bool=False):
        "A color scale: white to red, or blue over white to red with white at 0"
        ends = dict(start_type='min', end_type='max', end_color='F8696B')
        if middle: rule = ColorScaleRule(start_color='5A8AC6', mid_type='num', mid_value=0, mid_color='FFFFFF', **ends)
        else: rule = ColorScaleRule(start_color='FFFFFF', **ends)
        ws.conditional_formatting.add(area, rule)

    def ink(self, ws, area:str):
        "White for 0, gray for 1: on black the numbers could not be read"
        ends = dict(start_type='num', start_value=0, end_type='num', end_value=1)
        ws.conditional_formatting.add(area, ColorScaleRule(start_color='FFFFFF', end_color='888888', **ends))

    def save(self,
        path:Path, # ends in .xlsx
        cached:bool=True, # store the values, for what cannot calculate (previews, pandas)?
    ):
        "Write the workbook; two builds of it are equal"
        plain = io.BytesIO()
        self.workbook.save(plain)
        with zipfile.ZipFile(plain) as old, zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as new:
            for name in old.namelist():
                text = old.read(name)
                if sheet := re.fullmatch(r'xl/worksheets/sheet(\d+)\.xml', name):
                    title = self.workbook.sheetnames[int(sheet[1])-1]
                    if cached: text = self._with_values(title, text.decode()).encode()
                elif name=='docProps/core.xml': text = re.sub(rb'\d{4}-\d\d-\d\dT[\d:]+Z', DAY.encode(), text)
                new.writestr(zipfile.ZipInfo(name), text, zipfile.ZIP_DEFLATED)

    def _with_values(self, title:str, xml:str)->str:
        def fill(m):
            value = self.values[title, m[1]]
            kind, value = (' t="str"', escape(value)) if isinstance(value, str) else ('', repr(value))
            return f'<c r="{m[1]}"{m[2]}{kind}>{m[3]}<v>{value}</v></c>'
        return re.sub(r'<c r="([A-Z]+\d+)"([^>]*)>(<f>[^<]*</f>)<v ?(?:/>|></v>)</c>', fill, xml)
