#!/usr/bin/env python3
"""Records docs/demo.svg: kwatchman in one terminal, kubectl in another. See README.md."""
import html, os, re, subprocess, sys, tempfile, threading, time

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "demo.svg")
COMMAND = " ".join(sys.argv[1:]) or "kwatchman"
CHANGES = """kubectl create ingress shop --default-backend=web:80
kubectl set image deployment/web nginx=nginx:1.29
kubectl scale deployment/web --replicas=3
kubectl label deployment/web team=checkout
kubectl delete ingress shop""".splitlines()
COLS, ROWS, REST = 110, {"watch": 27, "change": 6}, 5  # REST: seconds that the last frame stays
CW, LH, PAD = 8.4, 18, 14  # a character's width, a line's height, the margin
COLOURS = {31: "#ff7b72", 32: "#7ee787", 33: "#f2cc60", 36: "#79c0ff"}

def tmux(*args):
    return subprocess.run(["tmux", "-L", "kwatchman-demo", "-f", "/dev/null", *args],
                          check=True, capture_output=True, text=True).stdout

frames, active, done = {"watch": [], "change": []}, "watch", threading.Event()

def record(start):
    """Keeps what each terminal shows, as tmux draws it, whenever that changes."""
    while not done.wait(0.03):
        for name, rows in ROWS.items():
            screen = tmux("capture-pane", "-ept", name, ";", "display", "-pt", name, "#{cursor_x} #{cursor_y}")
            *lines, cursor = screen.splitlines()
            frame = (lines[:rows], cursor if name == active else "")
            if not frames[name] or frames[name][-1][1] != frame:
                frames[name].append((time.monotonic() - start, frame))

def type_in(name, text, pause):
    global active
    active = name
    time.sleep(0.4)
    for c in text:
        tmux("send-keys", "-lt", name, c)
        time.sleep(0.028)
    time.sleep(0.25)
    tmux("send-keys", "-t", name, "Enter")
    time.sleep(pause)

def row(line):
    """One line with its colours as SVG: each run of one style has its place and length."""
    out, style, col = "", {}, 0
    for codes, text in re.findall(r"\x1b\[([\d;]*)m|([^\x1b]+)", line):
        for code in [int(c or 0) for c in codes.split(";")] if not text else []:
            style = {} if code == 0 else style
            style |= {"b": 1} if code == 1 else {"d": 1} if code == 2 else {"c": code} if code in COLOURS else {}
            style["c"] = 0 if code == 39 else style.get("c", 0)
        if text.strip():
            x, run = col + len(text) - len(text.lstrip()), text.strip()
            names = " ".join(k + (str(v) if k == "c" else "") for k, v in style.items() if v)
            out += '<text%s%s textLength="%g">%s</text>' % (
                f' x="{x * CW:g}"' if x else "", f' class="{names}"' if names else "", len(run) * CW, html.escape(run, False))
        col += len(text)
    return out

def svg(total):
    ids, strips, css, top, width = {}, "", "", PAD, COLS * CW + 2 * PAD
    for name, rows in ROWS.items():
        steps, strip = "", ""
        for i, (t, (lines, cursor)) in enumerate(frames[name]):
            x = round(i * width, 1)
            if cursor:
                cx, cy = map(int, cursor.split())
                strip += f'<rect class="k" x="{x + cx * CW:g}" y="{cy * LH + 2}" width="{CW}" height="{LH - 1}"/>'
            for y, shown in enumerate(map(row, lines)):
                if shown:
                    strip += f'<use href="#{ids.setdefault(shown, f"r{len(ids)}")}" x="{x:g}" y="{(y + 1) * LH - 3}"/>'
            steps += f"{100 * t / total if i else 0:.2f}%{{transform:translateX({-x:g}px)}}"
        css += (f"@keyframes {name}{{{steps}100%{{transform:translateX({-x:g}px)}}}}\n"
                f"#{name}{{animation:{name} {total:.1f}s steps(1,end) infinite;transform:translateX({-x:g}px)}}\n")
        strips += (f'<svg x="{PAD}" y="{top}" width="{width - 2 * PAD}" height="{rows * LH + 4}"><g id="{name}">{strip}</g></svg>\n')
        top += rows * LH + 4 + PAD
    line = PAD + ROWS["watch"] * LH + 4 + PAD / 2
    css += "".join(f".c{code}{{fill:{colour}}}" for code, colour in COLOURS.items())
    defs = "".join(f'<g id="{i}">{shown}</g>' for shown, i in ids.items())
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {top}" width="{width:g}" height="{top}" role="img">
<title>kwatchman prints each change that kubectl makes, with its diff and who made it</title>
<style>text{{font:14px ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;fill:#d1d7e0;white-space:pre}}
.b{{font-weight:bold}}.d{{opacity:.6}}.k{{fill:#9198a1}}
{css}
@media (prefers-reduced-motion:reduce){{#watch,#change{{animation:none}}}}</style>
<defs>{defs}</defs><rect width="100%" height="100%" rx="8" fill="#0d1117" stroke="#3d444d"/><path d="M0 {line}h{width:g}" stroke="#3d444d"/>
{strips}</svg>
"""

kubectl = lambda *args: subprocess.run(["kubectl", *args], check=True)
kubectl("create", "deployment", "web", "--image=nginx:1.28")
try:
    time.sleep(3)  # its status settles
    for name, rows in ROWS.items():
        tmux("new-session", "-d", "-s", name, "-x", str(COLS), "-y", str(rows), "env", "PS1=\\[\\e[32m\\]$\\[\\e[0m\\] ",
             "HOME=" + tempfile.gettempdir(), "bash", "--norc", "--noprofile")
        tmux("set", "-t", name, "status", "off")
    time.sleep(1)
    start = time.monotonic()
    threading.Thread(target=record, args=[start], daemon=True).start()
    type_in("watch", COMMAND, 1.8)
    for change in CHANGES:
        type_in("change", change, 2.1)
    active = "watch"
    tmux("send-keys", "-t", "watch", "C-c")
    time.sleep(1)
    done.set()
    with open(OUT, "w") as f:
        f.write(svg(time.monotonic() - start + REST))
finally:
    tmux("kill-server")
    kubectl("delete", "deployment/web", "--wait=false")
