"What a user might write, with every public class: tests/test_types.py runs it on these made-up tables, and has its types checked"
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, nn

from lesson8lib import activations, bayes, cnn, cold_start, collab, collab_nn, convolution, data, dropout, embedding, entity, hybrid, interpret, losses, optimizers, parameters, pooling, popularity, recommender, tabular, titanic, training

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

# recommendations
def recommend(folder:Path)->recommender.Recommender:
    ours = recommender.Recommender(n_factors=2, epochs=1, item='title').fit(ratings, progress=False)
    top: pd.DataFrame = ours.recommend('Ann', n=2, exclude_seen=False)
    alike, folded = ours.similar('Teacup', n=1), ours.fold_in({'Teacup': 5.})
    stars: pd.Series = ours.predict(ratings)
    terms: pd.Series = ours.explain('Ann', top.index[0])
    quality: dict[str, float] = ours.evaluate(ratings.assign(n=[len(alike), len(folded), len(stars), len(terms)]*3), k=2)
    return ours.load(ours.save(folder/'ours.safetensors')) if quality else ours

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
def longest(flights:data.Flights, films:data.MovieLens)->int: return max(len(flights.routes), len(films.ratings))
