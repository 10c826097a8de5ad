"""Makes the training data: a simulated fleet of servers on a 300-second clock.

The tables are those of the product's fleet generator: baselines by profile,
multipliers by state, transitions between states, the daily shape, incident
scenarios and the dependencies along which a cascade spreads. They were written
for a process that ticks every 5 seconds. Taking every 60th tick of that
process would leave nothing to forecast, since states and noise have forgotten
themselves by then, so this clock is slower by itself:

- A state is left SLOWER times less often than the table says. Which states
  follow which, and the share of time spent in each, stay as they are; a
  heavy_load lasts 3.3 hours on average instead of 17 seconds.
- The AR(1) noise keeps its size and forgets SLOWER times more slowly.
- The lengths of incidents, given in ticks, are taken as steps: a ramp of 24
  ticks is 2 hours.

Where the tables say nothing, these are choices of this file: how far a
server's own level may lie from its profile's (LEVEL), how often incidents
start, and that a finished degrading or critical incident holds for 2 hours
and then fades like a cascade.

The same seed gives the same bytes.
"""

import argparse
import csv
import datetime as dt
import hashlib
import io
import pathlib

import numpy as np

STEP_SECONDS = 300
STEPS_PER_DAY = 86_400 // STEP_SECONDS
START = dt.datetime(2026, 1, 12, tzinfo=dt.timezone.utc)  # a Monday
SLOWER = 12
LEVEL = 0.5  # of a profile's std: spread of the servers' own levels
INCIDENTS_PER_DAY = 0.7

METRICS = [
    "cpu_user_pct", "cpu_sys_pct", "cpu_iowait_pct", "cpu_idle_pct", "java_cpu_pct",
    "mem_used_pct", "swap_used_pct", "disk_usage_pct", "net_in_mb_s", "net_out_mb_s",
    "back_close_wait", "front_close_wait", "load_average", "uptime_days",
]  # fmt: skip
UNITS = ["%"] * 8 + ["MB/s"] * 2 + ["1"] * 3 + ["d"]
INTEGERS = ("back_close_wait", "front_close_wait", "uptime_days")
CAPS = dict(
    {m: 100.0 for m in METRICS[:8]},
    net_in_mb_s=200.0, net_out_mb_s=200.0, load_average=16.0, uptime_days=30.0,
)  # fmt: skip

# Mean and standard deviation, in the order of METRICS.
BASELINES = {
    "ml_compute": "45/12 8/3 2/1 45/15 50/15 72/10 5/3 55/8 8.5/3 5.2/2 2/1 2/1 6.5/2 25/2",
    "database": "25/8 12/4 15/5 48/12 10/5 68/10 3/2 70/10 35/12 28/10 8/3 6/2 4.2/1.5 25/2",
    "web_api": "18/6 5/2 3/2 74/10 25/8 45/10 2/1 35/8 85/25 120/35 15/5 12/4 2.8/1 25/2",
    "conductor_mgmt": "15/6 6/2 2/1 77/8 20/6 42/8 2/1 40/8 22/8 18/6 5/2 4/2 3.2/1.2 25/2",
    "data_ingest": "35/10 10/3 8/3 47/12 45/12 62/12 4/2 65/12 150/45 95/30 10/4 8/3 5.5/2 25/2",
    "risk_analytics": "55/15 8/3 2/1 35/15 60/15 70/10 5/3 50/10 12/4 8/3 3/1 2/1 8.2/2.5 25/2",
    "generic": "12/5 4/2 1/1 83/8 8/3 35/8 1/1 30/8 15/8 12/6 2/1 2/1 1.5/0.8 25/2",
}
PROFILES = sorted(BASELINES)
NAMES = {
    "ml_compute": "ppml%04d", "database": "ppdb%03d", "web_api": "ppweb%03d", "conductor_mgmt": "ppcon%02d",
    "data_ingest": "ppetl%03d", "risk_analytics": "pprisk%03d", "generic": "ppgen%03d",
}  # fmt: skip
MIX = {
    "web_api": 0.28, "ml_compute": 0.22, "database": 0.17, "data_ingest": 0.11,
    "risk_analytics": 0.09, "generic": 0.07, "conductor_mgmt": 0.06,
}  # fmt: skip

# What a state multiplies, in the order of METRICS; disk and uptime stay.
MULTIPLIERS = {
    "idle": [0.3, 0.5, 0.2, 1.5, 0.2, 0.8, 0.5, 1, 0.2, 0.2, 0.3, 0.3, 0.4, 1],
    "healthy": [1] * 14,
    "morning_spike": [1.3, 1.2, 1.4, 0.7, 1.4, 1.1, 1.2, 1, 1.5, 1.4, 1.3, 1.3, 1.3, 1],
    "heavy_load": [1.4, 1.3, 1.5, 0.6, 1.5, 1.2, 1.3, 1, 1.5, 1.4, 1.4, 1.4, 1.4, 1],
    "critical_issue": [2.5, 2, 3.5, 0.3, 2.8, 1.4, 3, 1, 0.4, 0.3, 2.5, 2.5, 2.5, 1],
    "maintenance": [0.3, 0.5, 0.8, 1.4, 0.2, 0.8, 0.5, 1, 0.2, 0.2, 0.2, 0.2, 0.5, 1],
    "recovery": [0.8, 0.9, 1.2, 1.1, 0.7, 1, 1.1, 1, 0.8, 0.7, 0.9, 0.9, 0.9, 1],
    "offline": [0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1],
}
STATES = sorted(MULTIPLIERS)

TRANSITIONS = {  # per tick of 5 seconds
    "idle": {"idle": 0.7, "healthy": 0.25, "maintenance": 0.05},
    "healthy": {"idle": 0.005, "healthy": 0.96, "morning_spike": 0.02, "heavy_load": 0.01, "critical_issue": 0.005},
    "morning_spike": {"healthy": 0.25, "morning_spike": 0.6, "heavy_load": 0.1, "critical_issue": 0.05},
    "heavy_load": {"idle": 0.02, "healthy": 0.2, "heavy_load": 0.7, "critical_issue": 0.08},
    "critical_issue": {"critical_issue": 0.3, "recovery": 0.3, "offline": 0.4},
    "maintenance": {"healthy": 0.1, "maintenance": 0.8, "offline": 0.1},
    "recovery": {"idle": 0.05, "healthy": 0.35, "recovery": 0.6},
    "offline": {"recovery": 0.3, "offline": 0.7},
}
PROBLEM_SHARE = 0.10
PHI, INNOVATION = 0.85, 0.1  # per tick of 5 seconds; innovation in std of the baseline

DIURNAL = ["cpu_user_pct", "cpu_sys_pct", "java_cpu_pct", "net_in_mb_s", "net_out_mb_s",
           "back_close_wait", "front_close_wait", "load_average"]  # fmt: skip

# A cascade's edges: who suffers, from whom, how strongly, and how.
DEPENDENCIES = [
    ("web_api", "database", 0.85, "connection_failures"), ("web_api", "database", 0.70, "queueing"),
    ("data_ingest", "database", 0.75, "connection_failures"), ("data_ingest", "database", 0.60, "queueing"),
    ("risk_analytics", "database", 0.80, "starvation"), ("risk_analytics", "database", 0.50, "idle"),
    ("ml_compute", "conductor_mgmt", 0.90, "idle"), ("ml_compute", "data_ingest", 0.60, "starvation"),
    ("conductor_mgmt", "database", 0.70, "connection_failures"),
]  # fmt: skip
EFFECTS = {  # metric: multiplier and addition at full strength
    "connection_failures": {"back_close_wait": (3, 15), "front_close_wait": (2.5, 10), "load_average": (1.3, 0), "cpu_sys_pct": (1.4, 0)},
    "queueing": {"load_average": (2, 0), "mem_used_pct": (1.15, 0), "back_close_wait": (1.5, 5), "java_cpu_pct": (1.2, 0)},
    "idle": {"cpu_user_pct": (0.3, 0), "java_cpu_pct": (0.2, 0), "net_in_mb_s": (0.1, 0), "net_out_mb_s": (0.1, 0), "load_average": (0.4, 0)},
    "starvation": {"cpu_user_pct": (0.4, 0), "java_cpu_pct": (0.3, 0), "net_in_mb_s": (0.15, 0), "mem_used_pct": (0.9, 0), "load_average": (0.5, 0)},
}  # fmt: skip
AT = {m: i for i, m in enumerate(METRICS)}


def server_id(name: str) -> str:
    """The number by which a server is known to a model, as decimal text."""
    return str(int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) % 1_000_000)


def fleet(servers: int) -> list[tuple[str, str]]:
    """Names and profiles of a fleet in the given mix, at least one of each profile."""
    if servers < len(MIX):
        raise SystemExit(f"a fleet has at least {len(MIX)} servers, one of each profile")
    exact = {p: share * servers for p, share in MIX.items()}
    count = {p: max(1, int(x)) for p, x in exact.items()}
    while sum(count.values()) < servers:
        p = max(MIX, key=lambda p: exact[p] - count[p])
        count[p] += 1
    while sum(count.values()) > servers:
        p = max((p for p in MIX if count[p] > 1), key=lambda p: count[p] - exact[p])
        count[p] -= 1
    return [(NAMES[p] % (i + 1), p) for p in PROFILES for i in range(count[p])]


def diurnal(hour: int, profile: str) -> float:
    """The factor of the daily shape; hours are in UTC, intervals half-open."""
    if 7 <= hour < 9:
        return 1.0
    if 9 <= hour < 16:
        return 1.1 * {"database": 1.1, "web_api": 1.15, "data_ingest": 1.2}.get(profile, 1)
    if 16 <= hour < 19:
        return 1.2 * {"database": 1.2, "risk_analytics": 1.3}.get(profile, 1)
    if 19 <= hour < 23:
        return 1.0 * {"ml_compute": 1.15}.get(profile, 1)
    return 0.8 * {"ml_compute": 1.15, "web_api": 0.6}.get(profile, 1)


def transitions(problem_child: bool) -> np.ndarray:
    """Transition probabilities per 300-second step, rows and columns in order of STATES."""
    p = np.array([[TRANSITIONS[a].get(b, 0.0) for b in STATES] for a in STATES])
    if problem_child:
        p[:, STATES.index("critical_issue")] *= 2
        p[:, STATES.index("offline")] *= 1.5
        p /= p.sum(axis=1, keepdims=True)
    stay = np.eye(len(STATES))
    return stay + (p - stay) / SLOWER


class Incident:
    """Servers that are pulled towards bad values: up along a ramp, then back."""

    def __init__(self, kind: str, start: int, servers: list[int]):
        self.kind, self.start, self.servers = kind, start, servers
        up = {"degrading": 60, "critical": 24, "cascade": 24}[kind]
        hold = {"degrading": 24, "critical": 12 + 24, "cascade": 120}[kind]
        self.up, self.down_from, self.end = start + up, start + up + hold, start + up + hold + 36

    def severity(self, step: int) -> float:
        """How far along the ramp the servers are, 0 to 1."""
        if step < self.start or step >= self.end:
            return 0.0
        if step < self.up:
            return (step - self.start + 1) / (self.up - self.start)
        if step < self.down_from:
            return 1.0
        return 1 - (step - self.down_from + 1) / (self.end - self.down_from)

    def goal(self, step: int) -> dict[str, float]:
        """The values that full severity reaches."""
        if self.kind == "degrading":
            return {"cpu_user_pct": 75, "mem_used_pct": 80, "cpu_iowait_pct": 18}
        if self.kind == "cascade":
            return {"cpu_user_pct": 95, "mem_used_pct": 92, "cpu_iowait_pct": 45}
        late = min(1.0, max(0.0, (step - self.up) / 12))  # the last 12 ticks go a little further
        return {"cpu_user_pct": 90 + 2 * late, "mem_used_pct": 93 + 2 * late, "cpu_iowait_pct": 35 + 5 * late}


def schedule(rng: np.random.Generator, servers: list[tuple[str, str]], steps: int) -> list[Incident]:
    """Incidents at random times, one after the other."""
    incidents, step = [], 0
    databases = [i for i, (_, p) in enumerate(servers) if p == "database"]
    while True:
        step += int(rng.exponential(STEPS_PER_DAY / INCIDENTS_PER_DAY)) + 1
        if step >= steps:
            return incidents
        kind = str(rng.choice(["degrading", "critical", "cascade"]))
        if kind == "cascade":
            hit = rng.choice(databases, size=min(2, len(databases)), replace=False)
        else:
            share = 0.20 if kind == "degrading" else 0.25
            hit = rng.choice(len(servers), size=max(1, round(share * len(servers))), replace=False)
        incidents.append(Incident(kind, step, sorted(int(i) for i in hit)))
        step = incidents[-1].end


def suffer(values: np.ndarray, profiles: np.ndarray, strength: float) -> None:
    """Spreads a cascade from the databases, in place, along the dependencies."""
    # A profile that suffers hands on what it got: the effects on ml_compute
    # come by way of conductor_mgmt and data_ingest.
    reach = {"database": strength, "conductor_mgmt": 0.70 * strength, "data_ingest": 0.75 * strength}
    for who, on, weight, effect in DEPENDENCIES:
        s = weight * reach[on]
        for metric, (times, plus) in EFFECTS[effect].items():
            column = AT[metric]
            hit = profiles == who
            values[hit, column] = values[hit, column] * (1 + (times - 1) * s) + plus * s


def simulate(servers: int, days: int, seed: int):
    """Yields (time, index of step, rows) for each step; a row is a tuple of the CSV's columns."""
    rng = np.random.default_rng(seed)
    hosts = fleet(servers)
    n, steps = len(hosts), days * STEPS_PER_DAY
    profiles = np.array([p for _, p in hosts])
    table = np.array([[tuple(map(float, x.split("/"))) for x in BASELINES[p].split()] for p in profiles])
    mean, std = table[:, :, 0], table[:, :, 1]
    level = np.maximum(mean + LEVEL * std * rng.standard_normal(mean.shape), 0.2 * mean)

    problem = np.zeros(n, bool)
    problem[rng.choice(n, size=max(1, round(PROBLEM_SHARE * n)), replace=False)] = True
    chain = np.cumsum(np.stack([transitions(bool(b)) for b in problem]), axis=2)
    multiplier = np.array([MULTIPLIERS[s] for s in STATES], float)
    state = np.full(n, STATES.index("healthy"))

    phi = PHI ** (1 / SLOWER)
    size = INNOVATION * np.sqrt((1 - phi**2) / (1 - PHI**2))  # same variance in the long run
    noise = INNOVATION / np.sqrt(1 - PHI**2) * std * rng.standard_normal(mean.shape)
    incidents = schedule(rng, hosts, steps)
    daily = np.array([[diurnal(h, p) for p in profiles] for h in range(24)])
    scaled_by_day = [AT[m] for m in DIURNAL]

    for step in range(steps):
        now = START + dt.timedelta(seconds=step * STEP_SECONDS)
        drawn = rng.random(n)
        state = np.minimum((chain[np.arange(n), state] < drawn[:, None]).sum(axis=1), len(STATES) - 1)
        noise = phi * noise + size * std * rng.standard_normal(mean.shape)

        v = level * multiplier[state]
        v[:, scaled_by_day] *= daily[now.hour][:, None]
        for incident in incidents:
            s = incident.severity(step)
            if s == 0:
                continue
            for metric, goal in incident.goal(step).items():
                c = AT[metric]
                v[incident.servers, c] += s * np.maximum(goal - v[incident.servers, c], 0)
            if incident.kind == "cascade":
                suffer(v, profiles, s)
        v += noise
        v[:, AT["cpu_idle_pct"]] = 100 - v[:, 0] - v[:, 1] - v[:, 2]
        offline = state == STATES.index("offline")
        v[offline] *= multiplier[STATES.index("offline")]
        v = np.maximum(v, 0)
        for metric, cap in CAPS.items():
            v[:, AT[metric]] = np.minimum(v[:, AT[metric]], cap)
        for metric in INTEGERS:
            v[:, AT[metric]] = np.rint(v[:, AT[metric]])
        yield now, step, [
            (name, profile, STATES[state[i]], bool(problem[i]), v[i]) for i, (name, profile) in enumerate(hosts)
        ]


def write_csv(out: io.TextIOBase, servers: int, days: int, seed: int) -> int:
    """Writes the fleet's readings in order of time, then server; returns the number of rows."""
    w = csv.writer(out, lineterminator="\n")
    w.writerow(["timestamp", "server_name", "server_id", "profile", "status", "problem_child", *METRICS])
    rows = 0
    for now, _, readings in simulate(servers, days, seed):
        for name, profile, status, problem, values in readings:
            numbers = [str(int(x)) if m in INTEGERS else f"{x:.2f}" for m, x in zip(METRICS, values, strict=True)]
            w.writerow([now.strftime("%Y-%m-%dT%H:%M:%SZ"), name, server_id(name), profile, status, int(problem), *numbers])
            rows += 1
    return rows


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--servers", type=int, default=20)
    p.add_argument("--days", type=int, default=42)
    p.add_argument("--seed", type=int, default=42)
    p.add_argument("--out", type=pathlib.Path, default=pathlib.Path("build/fleet.csv"))
    a = p.parse_args()
    a.out.parent.mkdir(parents=True, exist_ok=True)
    with a.out.open("w", newline="") as out:
        rows = write_csv(out, a.servers, a.days, a.seed)
    print(f"{a.out}: {rows} rows, {a.servers} servers, {a.days} days")


if __name__ == "__main__":
    main()
