#!/usr/bin/env python3
"""Records docs/demo.svg: kwatchman in one terminal, kubectl in another. See README.md."""
import functools, html, pathlib, re, subprocess, sys, threading, time

OUT = pathlib.Path(__file__).resolve().parents[1] / "demo.svg"
COMMAND = " ".join(sys.argv[1:]) or "kwatchman"
CHANGES = """kubectl create ingress shop --default-backend=web:80
kubectl set image deployment/web nginx=nginx:1.29
kubectl scale deployment/web --replicas=3
kubectl label deployment/web team=checkout
kubectl delete ingress shop""".splitlines()
COLS, ROWS, REST = 110, {"watch": 27, "change": 6}, 5  # REST: seconds that the last frame stays
CW, LH, PAD = 8.4, 18, 14  # a character's width, a line's height, the margin
COLOURS = {"31": "#ff7b72", "32": "#7ee787", "33": "#f2cc60", "36": "#79c0ff"}

def run(*args):
    return subprocess.run(args, check=True, stdout=subprocess.PIPE, text=True).stdout

tmux = functools.partial(run, "tmux", "-L", "kwatchman-demo", "-f", "/dev/null")
frames, active, done = {"watch": [], "change": []}, "watch", threading.Event()

def record(start):
    while not done.wait(0.03):  # keeps what each terminal shows, as tmux draws it, whenever that changes
        for name in ROWS:
            screen = tmux("capture-pane", "-ept", name, ";", "display", "-pt", name, "#{cursor_x} #{cursor_y}")
            *lines, cursor = screen.splitlines()
            frame = lines, cursor if name == active else ""
            if not frames[name] or frames[name][-1][1] != frame:
                frames[name].append((time.monotonic() - start, frame))

def type_in(name, keys, pause):
    global active
    active = name
    time.sleep(0.5)
    for key in keys:
        tmux("send-keys", "-t", name, key)
        time.sleep(0.028)
    time.sleep(pause)

def row(line):
    out, styles, col = "", set(), 0  # each run of one style is a text with its place and length
    for codes, text in re.findall(r"\x1b\[([\d;]*)m|([^\x1b]+)", line):
        for code in codes.split(";") if not text else ():
            styles = set() if code in ("", "0") else styles - set(COLOURS) if code == "39" else styles | {code} - {"49"}
        if run := text.strip():
            x = (col + len(text) - len(text.lstrip())) * CW
            names = " ".join("s" + code for code in sorted(styles))
            out += f'<text x="{x:g}" class="{names}" textLength="{len(run) * CW:g}">{html.escape(run, False)}</text>'
        col += len(text)
    return out

def svg(total):
    ids, strips, css, top, width = {}, "", "", PAD, round(COLS * CW) + 2 * PAD
    for name, rows in ROWS.items():
        steps = strip = ""
        for i, (t, (lines, cursor)) in enumerate(frames[name]):
            shown = "".join(f'<use href="#{ids.setdefault(text, f"r{len(ids)}")}" y="{(y + 1) * LH - 3}"/>'
                            for y, text in enumerate(map(row, lines)) if text)
            for x, y in [map(int, cursor.split())] if cursor else ():
                shown += f'<rect x="{x * CW:g}" y="{y * LH + 2}" width="{CW}" height="{LH - 1}"/>'
            strip += f'<g transform="translate({i * width})">{shown}</g>'
            place = f"transform:translateX({-i * width}px)"
            steps += f"{100 * t / total if i else 0:.2f}%{{{place}}}"
        css += (f"@keyframes {name}{{{steps}100%{{{place}}}}}\n"
                f"#{name}{{animation:{name} {total:.1f}s steps(1,end) infinite;{place}}}\n")
        strips += (f'<path d="M0 {top - PAD / 2}h{width}" stroke="#3d444d"/>' if top > PAD else "") + (
            f'<svg x="{PAD}" y="{top}" width="{width - 2 * PAD}" height="{rows * LH + 4}"><g id="{name}">{strip}</g></svg>\n')
        top += rows * LH + 4 + PAD
    css += "".join(f".s{code}{{fill:{colour}}}" for code, colour in COLOURS.items())
    defs = "".join(f'<g id="{i}">{shown}</g>' for shown, i in ids.items())
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {top}" width="{width}" height="{top}" role="img">
<title>kwatchman prints each change that kubectl makes, with its diff and who made it</title>
<style>text{{font:14px ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;fill:#d1d7e0;white-space:pre}}
.s1{{font-weight:bold}}.s2{{opacity:.6}}#watch rect,#change rect{{fill:#9198a1}}
{css}
@media (prefers-reduced-motion:reduce){{#watch,#change{{animation:none}}}}</style>
<defs>{defs}</defs><rect width="100%" height="100%" rx="8" fill="#0d1117" stroke="#3d444d"/>
{strips}</svg>
"""

run("kubectl", "create", "deployment", "web", "--image=nginx:1.28")
try:
    time.sleep(3)  # its status settles
    for name, rows in ROWS.items():
        tmux("new-session", "-d", "-s", name, "-x", str(COLS), "-y", str(rows),
             "env", "HISTFILE=", "PS1=\\[\\e[32m\\]$\\[\\e[0m\\] ", "bash", "--norc", ";", "set", "-g", "status", "off")
    time.sleep(1)
    start = time.monotonic()
    (recorder := threading.Thread(target=record, args=[start], daemon=True)).start()
    type_in("watch", [*COMMAND, "Enter"], 1.8)
    for change in CHANGES:
        type_in("change", [*change, "Enter"], 2.1)
    type_in("watch", ["C-c"], 1)
    done.set()
    recorder.join()
    OUT.write_text(svg(time.monotonic() - start + REST))
finally:
    tmux("start-server", ";", "kill-server")
    run("kubectl", "delete", "deployment/web", "ingress/shop", "--ignore-not-found")
