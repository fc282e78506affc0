"What a user might write, with every public class: tests/test_types.py runs it on these made-up tables, and has its types checked"
import io
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from lesson8lib import activations, baselines, bayes, choice, cnn, cold_start, collab, collab_nn, compare, convolution, data, dropout, embedding, entity, explorables, files, hybrid, interpret, losses, optimizers, parameters, parts, pooling, popularity, recommender, scale, speed, tabular, titanic, training

pixels, labels = torch.rand(6, 1, 28, 28), torch.arange(6)
ratings = pd.DataFrame({'user': ['Ann', 'Ben', 'Cem', 'Dot']*3, 'title': ['Robot Soup']*4 + ['Two Left Moons']*4 + ['Teacup']*4, 'rating': [5, 1, 4, 2, 3, 4, 1, 5, 2, 2, 4, 3]})
films = pd.DataFrame({'title': ['Robot Soup', 'Two Left Moons', 'Teacup'], 'year': [2050, 2051, 2050], 'genres': ['comedy|robots', 'drama', 'comedy']})
flats = pd.DataFrame({'city': ['Ulm', 'Bonn']*10, 'rooms': [float(i%7) for i in range(20)], 'rent': [300. + 9*i for i in range(20)]})

# our own `Parameter` and `Module`
class Line(parameters.Module):
    def __init__(self)->None:
        super().__init__()
        self.slope = parameters.Parameter(torch.ones(1))
    def forward(self, x:Tensor)->Tensor: return x*self.slope
line = parameters.Sequential(Line(), parameters.Linear(1, 2))
out: Tensor = line(torch.ones(3, 1))
out.sum().backward()
line.zero_grad()
line.load_state_dict(line.eval().train().state_dict())
names: list[str] = [name for name,_ in line.named_parameters()]
count = sum(p.numel() for p in line.parameters())

# optimizers
for optimizer in (optimizers.SGD(net_parameters := list(nn.Linear(3, 1).parameters()), lr=.1, momentum=.9), optimizers.RMSprop(net_parameters), optimizers.Adam(net_parameters), optimizers.AdamW(net_parameters)):
    base: optimizers.Optimizer = optimizer
    base.step()
    base.zero_grad()
    base.lr = optimizers.cosine_lr(.5, .1)

# layers, mixed with PyTorch's
net = nn.Sequential(convolution.Conv2d(1, 4, 3, padding='same'), nn.ReLU(), dropout.Dropout(.1), pooling.AdaptiveConcatPool2d(1), nn.Flatten(), nn.Linear(8, 6))
history: pd.DataFrame = training.fit(net, (pixels, labels), loss=nn.functional.cross_entropy, epochs=1, bs=3, progress=False)
steps: list[int] = []
def note(state: training.FitState) -> None: steps.append(state.step)
training.fit(net, [(pixels, labels)], loss=nn.functional.cross_entropy, epochs=2, progress=False, on_step=note)
digits = data.Digits(pixels[:,0], labels)
logits: Tensor = cnn.SmallCNN(channels=(4, 8), n_out=6).eval()(digits.images)
scores: Tensor = activations.MLP(activations.mish, (784, 20, 6))(pixels.flatten(1))
loss: Tensor = losses.cross_entropy(scores, labels, label_smoothing=.1)
field: pooling.ReceptiveField = pooling.receptive_field([convolution.Conv2d(1, 4, 3), nn.ReLU()])
size: tuple[int, int] = field.size
windows: convolution.ConvSettings = convolution.conv_settings(3, stride=2, padding=1)
sides: tuple[int, int, int, int] = windows.padding
vectors: Tensor = embedding.Embedding(10, 3)(torch.tensor([1, 2]))
plane: interpret.Components = interpret.pca(torch.rand(9, 4), k=2)
points: Tensor = plane.points

# ratings
vocab = data.Vocab(films['title'], 'film')
stride: object = explorables.Explorable('conv_slide', 'A kernel.', stride=2).values['stride']
rows: Tensor = vocab.index(['Teacup', 'Robot Soup'])
known: bool = 'Teacup' in vocab and len(vocab) == 4 and vocab[int(rows[0])] == 'Teacup'
table = collab.RatingsData.from_df(ratings, valid_pct=.25)
x, y = table.train
n_users, n_items = len(table.users), len(table.items)
meta = hybrid.Metadata(films, 'title', ['year', 'genres'])
item_meta: Tensor = meta.encode(films, table.items)
both = hybrid.HybridCollab(n_users, n_items, item_meta=item_meta, rated=x, n_factors=2)
biased, users = collab.DotProductBias(n_users, n_items, 2), hybrid.MetaEmbedding(n_users, 3)
for model in (collab.DotProduct(n_users, n_items, 2), biased, collab_nn.CollabNN((n_users, 2), (n_items, 2), layers=[4]), both):
    training.fit(model, table.train, epochs=1, progress=False)
    predicted: Tensor = model.eval()(x)
new_film: Tensor = both.for_new_item(item_meta[1:2])
rate: Tensor = hybrid.rate_embeddings(users(torch.tensor([1])), both.items(torch.tensor([1])), both)
half: Tensor = popularity.Weighted(biased)(x, torch.ones(len(x))/2)
factors, bias = cold_start.fold_in(biased, table, torch.tensor([1, 2]), torch.tensor([5., 1.]))

# posteriors
fitted: bayes.BayesFactors = bayes.fit_bayes(x, y, n_users, n_items, n_factors=2, iterations=3)
expected, variance = fitted.predict(x)
more: bayes.BayesFactors = fitted.add(torch.tensor([1, 2]), torch.tensor([5., 1.]))

drawn: bayes.BayesDraws = bayes.sample_bayes(fitted, x, y, draws=4)
prior: bayes.Prior = drawn.user_prior
features: bayes.Features = more.item_features
new_user: tuple[Tensor, Tensor] = fitted.posterior(torch.tensor([1]), torch.tensor([5.]))
each_draw: Tensor = drawn.add(torch.tensor([1]), torch.tensor([5.])).posterior(torch.tensor([1]), torch.tensor([4.]), of='user', seed=1)
center: float = features.count + fitted.mu + float(prior.mean[0,0]) + float(each_draw[0,0])
user_vectors, item_vectors = drawn.vectors()
fast: bool = bayes.check_compiled(None)

world: bayes.OneProcess = bayes.OneProcess()
part = parts.fit_bayes_parts(x, y, n_users, n_items, n_factors=2, iterations=3, gather=False)
if isinstance(part, parts.BayesPart): fitted = parts.join_parts([part])

# choices
stars: Tensor = choice.star_values(y)
weights: Tensor = choice.ease(x, n_users, n_items, values=stars)
user_factors, item_factors = choice.implicit_als(x, n_users, n_items, n_factors=2, values=stars)
row: Tensor = choice.fold_in_choice(item_factors, torch.tensor([1, 2]))
by_choice: choice.Scores = choice.blend_scores(choice.choice_scores(weights, x, stars), choice.factor_scores(user_factors, item_factors))
by_both: choice.Scores = choice.both_scores(by_choice, choice.rating_scores(biased), unit=float(y.std()), weight=.2)
lists: Tensor = choice.top_items(by_both, x[:4], torch.tensor([1, 2]), k=2)
inner: collab.RatingsData = choice.inner_split(table, valid_pct=.5, seed=0)
quality_of_lists: dict[str, float] = choice.list_quality(choice.popularity_scores(x, n_items), x[:0], (x, y), k=2, relevant=3.)

# baselines
mean, user_biases, item_biases = baselines.damped_biases(x, y, n_users, n_items)
rules = baselines.rating_baselines(x, y, n_users, n_items)
errors: dict[str, float] = baselines.rating_errors(rules['mean'](x), y)
evaluation = baselines.Evaluation(errors, {name: baselines.rating_errors(rule(x), y) for name,rule in rules.items()})
beside: pd.DataFrame = evaluation.table
lost: dict[str, str] = evaluation.lost

# files
def store(path:Path)->list:
    files.save_tensors(path, files.pack_names(['Ann', 'Ben']), {'of': 'users'}, 'names')
    about, tensors = files.load_tensors(path, 'names')
    return files.unpack_names(tensors) if about['of'] == 'users' else []

# recommendations
def recommend(folder:Path)->recommender.Recommender:
    ours = recommender.Recommender(n_factors=2, epochs=1, item='title').fit(ratings, progress=False)
    top: pd.DataFrame = ours.recommend('Ann', n=2, exclude_seen=False)
    alike, folded = ours.similar('Teacup', n=1), ours.fold_in({'Teacup': 5.})
    stars: pd.Series = ours.predict(ratings)
    terms: pd.Series = ours.explain('Ann', top.index[0])
    quality: baselines.Evaluation = ours.evaluate(ratings.assign(n=[len(alike), len(folded), len(stars), len(terms)]*3), k=2)
    return ours.load(ours.save(folder/'ours.safetensors')) if quality else ours

def serve(draws:int=0)->recommender.Recommender:
    "With metadata, intervals, new users, items and ratings"
    ours = recommender.Recommender(2, item='title', scale=(1, 5), repeats='mean', draws=draws).fit(ratings, progress=False, item_info=films)
    interval: pd.DataFrame = ours.predict(ratings, interval=.9)
    everyone: pd.DataFrame = ours.recommend(n=2, by='choice', exclude=['Teacup'], interval=.5)
    some: pd.DataFrame = ours.recommend(['Ann', 'Ben'], items=['Teacup', 'Robot Soup'], exclude_seen=False)
    ours.add_user('Eve', {'Teacup': 5}).add_item('Sequel', {'Ann': 4.}, info={'year': 2052, 'genres': 'drama'})
    ours.update(pd.DataFrame({'user': ['Eve'], 'title': ['Sequel'], 'rating': [3]}))
    settings: dict = ours.set_params(seed=1).get_params()
    file = io.BytesIO()
    ours.save(file)
    file.seek(0)
    again = recommender.Recommender.load(file)
    return again if len(interval)+len(everyone)+len(some)+len(settings)+len(again.users)+len(again.items) else ours

clicks = recommender.Recommender(item='title', feedback='implicit').fit(ratings[['user', 'title']], progress=False)
next_films: pd.DataFrame = clicks.fold_in(['Teacup'], unknown='skip')

# comparing them
folds: pd.DataFrame = compare.cross_validate(recommender.Recommender(2, item='title'), ratings, cv=2, progress=False)
curve: pd.DataFrame = compare.validation_curve(recommender.Recommender(2, item='title'), ratings, 'n_factors', [1, 2], cv=2, progress=False)
def show_curve(name:str)->str: return compare.show_validation_curve(curve, name).get_xlabel()

# past one machine
def large(folder:Path)->float:
    ratings.to_parquet(folder/'raw.parquet')
    users, items = scale.index_parquet(folder/'raw.parquet', folder/'ratings.parquet', item='title')
    train = scale.ParquetRatings(folder/'ratings.parquet', 5, pool=2)
    train.load_state_dict(train.state_dict())
    factors = collab.DotProductBias(len(users), len(items), 2)
    with scale.CommBytes() as moved: training.fit(factors, train, epochs=1, progress=False, on_step=scale.Checkpoint(folder/'saved', every=2))
    again, known, _ = scale.load_model(scale.save_model(folder/'model', factors, users, items))
    return float(again.user_bias.detach().sum()) + moved.n + len(known) - len(users)

# tables
homes = tabular.TableData(flats, 'rent')
tables = tabular.TabularModel(homes.emb_szs, len(homes.cont_names), homes.out_sz, [8], y_range=homes.y_range(200, 600))
training.fit(tables, homes.train, epochs=1, progress=False)
rents = homes.predict(tables, flats)
cities: pd.DataFrame = homes.embedding(tables, 'city')
x_cat, x_cont = homes.encode(flats)
embedded: Tensor = tables.embed(x_cat)
encoder = entity.EntityEncoder(columns=['city'], epochs=1, random_state=0).fit(flats[['city', 'rooms']], flats['rent'])
columns: list[str] = list(encoder.get_feature_names_out())
encoded = encoder.transform(flats[['city', 'rooms']])

# the Titanic
passengers = pd.DataFrame({'Survived': [0, 1], 'Pclass': [3, 1], 'Sex': ['male', 'female'], 'Age': [22., 38.], 'SibSp': [1, 1], 'Parch': [0, 0], 'Fare': [7.25, 71.28], 'Embarked': ['S', 'C']})
inputs: titanic.TitanicInputs = titanic.prepare_titanic(passengers)
chances: Tensor = titanic.TitanicNet('one hidden layer', len(inputs.names))(titanic.prepare_titanic(passengers, like=inputs).x)

# data sets
source = data.Source({}, lambda name, sha256, folder: folder/name, lambda: {})
everything: dict[str, data.DataSet] = data.datasets | {'mine': data.DataSet({}, {'my disk': lambda folder: source(folder)})}
whole: bool = source.is_placed(Path())
def longest(flights:data.Flights, films:data.MovieLens, books:data.Books)->int: return max(len(flights.routes), len(films.ratings), len(books.ratings))

# compiled training
grads: dict[str, Tensor] = speed.sgd_gradients(biased, x, y)
epochs: pd.DataFrame = speed.fit_sgd(biased, table.train, table.valid, epochs=1, blocks=2, threads=1, seed=0, progress=False)
cells: speed.Cells = speed.Cells.sort(x[:,0].numpy(), x[:,1].numpy(), y.numpy(), (n_users, n_items), 2, np.random.default_rng(0))
rows_of_users, rows_of_items = speed.aligned_rows(n_users, 4), speed.aligned_rows(n_items, 4)
squared: float = speed.compile_kernel(speed.sgd_pass)(*cells[:3], rows_of_users, rows_of_items, 2, *(np.float32(v) for v in (.02, .2, 0, 5.5)), 8, 0, len(y))
