"""The chart of scripts/bench: a panel for every job of ours, with its peers and the line of its bar. SVG, light and dark."""
from xml.sax.saxutils import escape

import judge
from bench_jobs import IMAGES, TITLES

WIDTH, LEFT, RIGHT, TOP = 860, 190, 90, 78
BAR, GAP, TITLE, PANEL = 16, 5, 22, 14
# Of a speed between a bar and a line.
ROOM = 40
LIGHT = {"back": "#ffffff", "text": "#1f2328", "soft": "#59636e", "grid": "#d8dee4", "ours": "#0969da", "low": "#bc4c00", "peer": "#aab4bf"}
DARK = {"back": "#0d1117", "text": "#f0f6fc", "soft": "#9da7b1", "grid": "#2f363d", "ours": "#4493f8", "low": "#e0762b", "peer": "#646d77"}


def style(colours):
    """The classes of one theme: not variables, which some viewers do not know."""
    rules = [".%s{fill:%s}" % (name, colour) for name, colour in colours.items()]
    return "".join(rules) + ".line{stroke:%(text)s;stroke-width:2}.rule{stroke:%(grid)s;stroke-width:1}" % colours


def panels(told):
    """For every job of ours that has a peer or a bar: its rows, and the jobs to draw."""
    jobs = {(job["family"], job["job"]): job for job in told["jobs"]}
    found = {}
    for row in told["rows"]:
        if row["verdict"] != judge.NOT_MEASURED and row["measure"] in ("times as fast", "GiB/s"):
            found.setdefault((row["family"], row["job"]), []).append(row)
    for (family, name), rows in found.items():
        peers = [jobs[family, row["than"]] for row in rows if row["than"]]
        yield jobs[family, name], peers, rows, jobs


def bar_speed(rows, jobs):
    """The highest bar of a job in GiB/s; None without any."""
    speeds = [row["bar"] * (jobs[row["family"], row["than"]]["gib_per_second"] if row["than"] else 1)
              for row in rows if row["bar"] is not None]
    return max(speeds, default=None)


def title(told, job):
    layers, share = IMAGES[job["family"].split()[0]]
    size = "%g MiB" % (told["size_mib"] * share)
    return "%s: %s" % ("One layer of " + size if layers == 1 else "%d layers of %s" % (layers, size), TITLES.get(job["job"], job["job"]))


def step_of(most):
    """A round distance between the lines of the grid."""
    return next(step for step in (0.1, 0.2, 0.25, 0.5, 1, 2, 5, 10, 100) if most / step <= 8)


def drawing(told):
    everything = list(panels(told))
    if not everything:
        return None
    most = max(speed for job, peers, rows, jobs in everything
               for speed in [bar_speed(rows, jobs) or 0, *(one["gib_per_second"] for one in [job, *peers])])
    height = TOP + sum(TITLE + (1 + len(peers)) * (BAR + GAP) + PANEL for _, peers, _, _ in everything) + 26
    scale = (WIDTH - LEFT - RIGHT) / most
    out = []

    def text(x, y, words, kind="text", anchor="start", weight="normal", size=12):
        out.append('<text x="%.1f" y="%.1f" class="%s" text-anchor="%s" font-weight="%s" font-size="%d">%s</text>'
                   % (x, y, kind, anchor, weight, size, escape(words)))

    text(16, 28, "sealift beside its peers, GiB/s", weight="bold", size=16)
    text(16, 48, "%s, %d cores; medians of %d rounds%s" % (told["machine"]["cpu"], told["machine"]["cores"], told["rounds"],
                                                        ", scaled from short ones" if told["is_scaled"] else ""), "soft")
    text(16, 66, " · ".join(told["versions"].values()), "soft", size=10)
    distance = step_of(most)
    ticks = [(number * distance, LEFT + number * distance * scale) for number in range(int(most / distance) + 1)]
    for value, x in ticks:
        text(x, height - 8, "%g" % value, "soft", "middle", size=11)
    y = TOP
    for job, peers, rows, jobs in everything:
        is_low = any(row["verdict"] == judge.BELOW for row in rows)
        text(16, y + 15, title(told, job) + (" — below the bar" if is_low else ""), "low" if is_low else "text", weight="bold")
        y += TITLE
        for _, x in ticks:
            out.append('<line x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f" class="rule"/>' % (x, x, y - 2, y + (1 + len(peers)) * (BAR + GAP)))
        bar = bar_speed(rows, jobs)
        for one in [job, *peers]:
            kind = ("low" if is_low else "ours") if one is job else "peer"
            wide = one["gib_per_second"] * scale
            name = "sealift" if one is job else "SHA-256 (openssl)" if one["job"] == "sha" else one["job"]
            text(LEFT - 8, y + 12, name, "text" if one is job else "soft", "end")
            out.append('<rect x="%d" y="%.1f" width="%.1f" height="%d" rx="2" class="%s"/>' % (LEFT, y, wide, BAR, kind))
            end = LEFT + wide
            if one is job and bar is not None:
                x = LEFT + bar * scale
                out.append('<line x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f" class="line"/>' % (x, x, y - 4, y + BAR + 4))
                # The speed stands between bar and line if there is room, the bar's height beyond both.
                is_between = x - end > ROOM
                text(max(end, x) + 7, y + 12, ("" if is_between else "%.2f, " % one["gib_per_second"]) + "bar %.2f" % bar, size=11)
                if is_between:
                    text(end + 7, y + 12, "%.2f" % one["gib_per_second"], size=11)
            else:
                text(end + 7, y + 12, "%.2f" % one["gib_per_second"], "text" if one is job else "soft", size=11)
            y += BAR + GAP
        y += PANEL
    return ('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img"'
            ' font-family="system-ui, sans-serif">\n'
            "<title>Speed of sealift and its peers</title>\n<style>%s@media (prefers-color-scheme: dark){%s}</style>\n"
            '<rect width="100%%" height="100%%" class="back"/>\n%s\n</svg>\n'
            % (WIDTH, height, WIDTH, height, style(LIGHT), style(DARK), "\n".join(out)))


def write(path, told):
    """Writes the chart, if there is anything to draw."""
    svg = drawing(told)
    if svg:
        with open(path, "w") as file:
            file.write(svg)
