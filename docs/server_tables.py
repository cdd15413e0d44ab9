"""Tables of engine models and of the gateway in front of real servers."""

import numpy as np
import pandas as pd
from writing import DATA, markdown, read


def engines(model: str) -> str:
    """Returns how well an engine model holds on what it was not fitted on, in per cent."""
    table = read("engines")
    lines = [
        [
            row.fitted_on,
            row.judged_on,
            *(
                "–" if pd.isna(value) else f"{value:+.1f}"
                for value in (row.e2e_mean, row.e2e_p99, row.ttft_mean, row.ttft_p50, row.tpot_mean)
            ),
            "–" if pd.isna(row.e2e_mape) else f"{row.e2e_mape:.1f}",
        ]
        for row in table[table["model"] == model].itertuples()
        if not row.fitted
    ]
    head = [
        "fitted on",
        "judged on",
        "E2E mean",
        "E2E p99",
        "TTFT mean",
        "TTFT p50",
        "TPOT mean",
        "MAPE",
    ]
    return markdown(head, lines, "llrrrrrr")


def engine_peers(_: str = "") -> str:
    """Returns what other simulators say of themselves, in per cent."""
    lines = [
        [
            f"[{row.simulator}]({row.source})",
            row.server,
            row.judged_on,
            *(
                "–" if pd.isna(v) else f"{v:+.1f}"
                for v in (row.e2e_mean, row.ttft_mean, row.tpot_mean)
            ),
            *("–" if pd.isna(v) else f"{v:.1f}" for v in (row.e2e_mape, row.ttft_mape)),
        ]
        for row in read("engine_peers").itertuples()
    ]
    head = [
        "simulator",
        "server",
        "how",
        "E2E mean",
        "TTFT mean",
        "TPOT mean",
        "E2E MAPE",
        "TTFT MAPE",
    ]
    return markdown(head, lines, "lllrrrrr")


def engine_list(_: str = "") -> str:
    """Returns the bundled engine models with their numbers."""
    from edgecloud_gym.engines import bundled_engines, load_engine

    lines = []
    for name in bundled_engines():
        model = load_engine(name)
        curve = "curve" if model.step_times else f"{1e3 * model.step_floor:.2f}"
        token = "–" if model.step_times else f"{1e6 * model.token_time:.1f}"
        cache = "–" if model.kv_tokens is None else f"{model.kv_tokens:,}"
        lines.append(
            [f"`{name}`", model.hardware, curve, token, f"{1e6 * model.context_time:.3f}",
             f"{model.sequences:,}", cache]
        )  # fmt: skip
    head = [
        "name",
        "hardware",
        "floor (ms)",
        "token (µs)",
        "cached token (µs)",
        "sequences",
        "cache (tokens)",
    ]
    return markdown(head, lines, "llrrrrr")


def live(_: str = "") -> str:
    """Returns live and simulated times by agent, quickest live first, and the picture of them.

    Measured by ``python -m tests.agents.gateway.sim_to_real --publish docs``.
    """
    if not (DATA / "live.csv").exists():
        return "*Not measured with this version yet.*"
    table = read("live")
    lines = []
    for arrivals, rows in table.groupby("arrivals", sort=False):
        ranks = rows["jct_mean_sim"].rank().astype(int)
        for place, (index, row) in enumerate(rows.iterrows(), 1):
            cells = [arrivals, row["agent"]]
            for metric in ("jct_mean", "ttft_mean"):
                measured, simulated = row[f"{metric}_live"], row[f"{metric}_sim"]
                error = 100.0 * (simulated / measured - 1.0)
                cells += [f"{measured:.2f}", f"{simulated:.2f}", f"{error:+.0f} %"]
            lines.append([*cells, f"{place} / {ranks[index]}"])
    head = [
        "arrivals",
        "",
        "JCT live (s)",
        "simulated",
        "",
        "TTFT live (s)",
        "simulated",
        "",
        "rank",
    ]
    pairs = int(table["contradicted"].sum()) // 2
    said = (
        f"{table['requests'].iloc[0]} requests per agent at {table['rate'].iloc[0]:g}/s, in two "
        f"runs. Ranks are live / simulated. From one run of an agent to the other, with the same "
        f"requests, the mean JCT is {table['noise'].iloc[0]:.1%} apart (standard deviation of a "
        f"run): that much is the machine. Pairs of agents that are ranked otherwise in simulation "
        f"although they differ live by more than chance, that of requests and of the machine: "
        f"{pairs}."
    )
    picture = "![Live and simulated times of each agent](assets/live.png)"
    return f"{markdown(head, lines, 'llrrrrrrr')}\n\n{said}\n\n{picture}"


def gateway(_: str = "") -> str:
    """Returns what the gateway adds to a request, in ms.

    Measured by ``python -m tests.benchmarks.gateway --publish docs``.
    """
    if not (DATA / "gateway.csv").exists():
        return "*Not measured with this version yet.*"
    lines = [
        [
            row.agent,
            f"{row.what}, p{row.percentile}",
            f"{row.direct:.1f}",
            f"{row.gateway:.1f}",
            f"{row.added:+.1f}",
            "" if np.isnan(row.goal) else f"≤ {row.goal:g}",
        ]
        for row in read("gateway").itertuples()
    ]
    head = ["agent", "ms", "direct", "by the gateway", "added", "goal"]
    return markdown(head, lines, "llrrrr")
