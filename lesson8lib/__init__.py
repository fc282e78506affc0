"""Lesson 8 of fast.ai's Practical Deep Learning for Coders, as a literate library: built from scratch, proved equal to PyTorch's

Modules:

- `lesson8lib.activations`: A simple non-linear function between two linear layers: why a network needs one, which one to choose, and what it does to the gradient
- `lesson8lib.baselines`: An error or a score means little until you know what a simple rule achieves on the same ratings
- `lesson8lib.batchnorm`: Standardize each feature over the mini-batch, then let the network choose its own scale and shift
- `lesson8lib.bayes`: Regularize each user and film according to the evidence, and attach a variance to each prediction
- `lesson8lib.checks`: Reject bad input with an error that names the argument, and compare two tensors without being misled
- `lesson8lib.choice`: Predicting ratings and predicting choices are two tasks, and a good list of recommendations needs both
- `lesson8lib.cnn`: Convolutions, batch normalization, pooling, dropout and a dense layer, trained on 60,000 digits, and then shown a photo
- `lesson8lib.cold_start`: A new user or item without ratings: five ratings and one linear system are enough
- `lesson8lib.collab`: Predict missing ratings from known ones: latent factors, dot products and biases, on a hundred thousand film ratings
- `lesson8lib.collab_nn`: Predict ratings with a neural network instead of a dot product, and see why the dot product wins
- `lesson8lib.compare`: Cross-validation, validation curves, and the full field of libraries on the same ratings
- `lesson8lib.conv_matmul`: A convolution is a linear layer in which most weights are fixed at zero and the others are shared
- `lesson8lib.convolution`: Slide nine weights over an image and find its edges; then let gradient descent find the weights
- `lesson8lib.data`: Map names to indices with a vocabulary, and load real data sets from a verified cache
- `lesson8lib.dropout`: Randomly zero activations during training, so that no unit can rely on any other
- `lesson8lib.embedding`: A learned vector for each category, and why looking it up is a matrix product
- `lesson8lib.entity`: What a network learns about hours, months and airports, and how other models can use it
- `lesson8lib.explorables`: Interactive figures for mouse, touch and keyboard, in Jupyter and on static pages
- `lesson8lib.files`: Save what a model has learned in a file that runs no code, detects damage and stays readable for later versions
- `lesson8lib.gradients`: How a computer finds the parameters of a function: a loss, its gradient, and a small step, again and again
- `lesson8lib.hybrid`: Metadata and implicit feedback inside the embeddings, and a network beside the dot product
- `lesson8lib.interpret`: What a trained recommender has learned: item biases, latent factors, and how far to trust them
- `lesson8lib.losses`: One number that says how wrong the predictions are: cross-entropy for classes, mean squared or mean absolute error for quantities
- `lesson8lib.matrices`: Rows times columns: multiply, add up, and you have a layer of a neural network
- `lesson8lib.optimizers`: What momentum, RMSprop, Adam and annealing change about a step of gradient descent
- `lesson8lib.parameters`: How PyTorch knows what to train: `Parameter` and `Module`, built from scratch
- `lesson8lib.parts`: Divide users and ratings among processes, add up their sums, and get the posterior that one process would compute
- `lesson8lib.pooling`: Replace each window of a feature map by its maximum or its mean, and let go of exact positions
- `lesson8lib.popularity`: When a few enthusiastic users fill the top of every list, and what to do about it
- `lesson8lib.recommender`: Recommendations from your own table of ratings: fit, predict, recommend, explain, update, evaluate, save
- `lesson8lib.relus`: Add up functions with one kink each, and the sum can approximate any continuous function
- `lesson8lib.scale`: Train on more ratings than memory holds, on several machines, and survive a crash
- `lesson8lib.show`: Draw matrices, images, named points and the results of benchmarks in one style
- `lesson8lib.speed`: The gradient by hand, a compiled loop, and an order of ratings with which memory keeps up
- `lesson8lib.tabular`: Embeddings for categorical columns, standardized continuous columns, and a network on both: fastai's TabularModel from scratch
- `lesson8lib.text`: From a poem to a matrix: tokens, a vocabulary, IDs, and the same embeddings as for films
- `lesson8lib.titanic`: Who survived? From a table of passengers to a neural network, in matrix products
- `lesson8lib.training`: The loop that fits a model with thousands of parameters, and how you know that it has learned something"""

__version__ = "0.1.0"
