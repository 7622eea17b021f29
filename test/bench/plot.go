package main

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"math"
	"time"
)

// The plot is in units of SVG, and made of panels: memory and latency over the
// number of objects, and the latency of each subject on the real API server.
const (
	plotWidth  = 880
	plotLeft   = 80
	plotRight  = 680 // the names of the lines stand right of it
	overTop    = 96
	overBottom = 400
	overHeight = 470
	latencyTop = 72
	latencyRow = 34
)

// The picture brings its own background, so that it reads on any page, and takes the
// dark one where the reader prefers it. It does without CSS variables, which
// only browsers know.
const style = `
text{font:13px system-ui,-apple-system,"Segoe UI",Helvetica,Arial,sans-serif;fill:#1f2328}
.title{font-size:17px;font-weight:600}.end{text-anchor:end}.middle{text-anchor:middle}.name{fill:currentColor;font-weight:600}
.line{fill:none;stroke:currentColor;stroke-width:2.5}.peak{stroke-dasharray:6 5}
.dot{fill:currentColor}.ring{fill:#fff;stroke:currentColor;stroke-width:2}
.paper{fill:#fff;stroke:#d1d9e0}.grid{stroke:#e3e7ec}.soft{fill:#59636e}
.ink{color:#59636e}.a{color:#0b62c4}.b{color:#0f7b6c}.c{color:#c2410c}.d{color:#7c3aed}
@media (prefers-color-scheme:dark){
text{fill:#e6edf3}.name{fill:currentColor}.ring{fill:#0f141a}.paper{fill:#0f141a;stroke:#2f3842}.grid{stroke:#262e37}.soft{fill:#9aa7b4}
.ink{color:#9aa7b4}.a{color:#6cb0ff}.b{color:#45cdb8}.c{color:#ff9a5c}.d{color:#b89bff}}
`

// colours are the classes of the compared subjects; what is not among them has
// the last.
var colours = map[string]string{inMemory.name: "a", durable.name: "b", informer.name: "c", allInOne.name: "d", floor.name: "ink"}

// canvas is an SVG that is being written.
type canvas struct{ bytes.Buffer }

func (c *canvas) text(x, y float64, class, text string) {
	c.add(`<text x="%.1f" y="%.1f" class="%s">`, x, y, class)
	_ = xml.EscapeText(c, []byte(text)) // a buffer takes everything
	c.WriteString("</text>\n")
}

func (c *canvas) add(format string, args ...any) { _, _ = fmt.Fprintf(c, format, args...) }

func (c *canvas) gridLine(x1, y1, x2, y2 float64) {
	c.add(`<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" class="grid"/>`+"\n", x1, y1, x2, y2)
}

// plot draws what was measured.
func (r *report) plot() []byte {
	var body canvas
	height := 0.0
	panel := func(of float64, draw func(*canvas)) {
		body.add(`<g transform="translate(0 %.0f)">`+"\n", height)
		draw(&body)
		body.add("</g>\n")
		height += of
	}
	if len(r.memory) > 0 {
		panel(overHeight, func(c *canvas) { c.memory(r.sizes, r.memory) })
		panel(overHeight, func(c *canvas) { c.latencyOver(r.sizes, r.memory) })
	}
	if len(r.latency) > 0 {
		panel(float64(latencyTop+latencyRow*len(r.latency)+62), func(c *canvas) { c.latency(r.latency) })
	}
	c := &canvas{}
	c.add(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %.0f" width="%d" height="%.0f" role="img">`+"\n", plotWidth, height, plotWidth, height)
	c.add("<title>Memory and latency of kwatchman and of a plain informer</title>\n<style>%s</style>\n", style)
	c.add(`<rect x="0.5" y="0.5" width="%d" height="%.0f" rx="8" class="paper"/>`+"\n", plotWidth-1, height-1)
	_, _ = c.Write(body.Bytes())
	c.add("</svg>\n")
	return c.Bytes()
}

// memory draws a line for the steady RSS of each subject and one for its peak.
func (c *canvas) memory(sizes []int, results [][]memoryResult) {
	c.text(24, 36, "title", "Memory over the number of objects")
	c.text(24, 58, "soft", "RSS in MB, both axes logarithmic")
	c.legend("steady", "peak, at sync or relist")
	c.over(sizes, results, func(m memoryResult) float64 { return float64(m.steady) / mega },
		func(m memoryResult) float64 { return float64(max(m.peak, m.relist)) / mega })
}

// latencyOver draws a line for the median of each subject and one for its p99.
func (c *canvas) latencyOver(sizes []int, results [][]memoryResult) {
	c.text(24, 36, "title", "Latency over the number of objects")
	c.text(24, 58, "soft", "from a recorded server to the sink in ms, logarithmic")
	c.legend("p50", "p99")
	ms := func(d time.Duration) float64 { return max(d.Seconds()*1000, 0.01) }
	c.over(sizes, results, func(m memoryResult) float64 { return ms(m.latency.p50) },
		func(m memoryResult) float64 { return ms(m.latency.p99) })
}

// over draws two values of each subject over the number of objects: a full line
// for the one, a dashed one for the other.
func (c *canvas) over(sizes []int, results [][]memoryResult, full, dashed func(memoryResult) float64) {
	var xs, ys []float64
	for i, size := range sizes {
		xs = append(xs, float64(size))
		for _, m := range results[i] {
			ys = append(ys, full(m), dashed(m))
		}
	}
	x, y := around(xs, plotLeft, plotRight), between(ys, overBottom, overTop)
	for _, v := range y.ticks() {
		c.gridLine(plotLeft, y.at(v), plotRight, y.at(v))
		name := fmt.Sprintf("%g", v)
		if v >= 1 {
			name = thousands(int(v))
		}
		c.text(plotLeft-10, y.at(v)+4, "soft end", name)
	}
	for _, size := range sizes {
		c.gridLine(x.at(float64(size)), overTop, x.at(float64(size)), overBottom)
		c.text(x.at(float64(size)), overBottom+22, "soft middle", thousands(size))
	}
	c.text((plotLeft+plotRight)/2, overBottom+44, "soft middle", "objects")
	var labels []label
	for k, s := range compared {
		value := func(of func(memoryResult) float64) func(int) float64 {
			return func(i int) float64 { return y.at(of(results[i][k])) }
		}
		c.series(x, xs, value(dashed), colours[s.name], true)
		c.series(x, xs, value(full), colours[s.name], false)
		labels = append(labels, label{value(full)(len(xs) - 1), s.name, colours[s.name]})
	}
	c.labels(labels)
}

func (c *canvas) legend(full, dashed string) {
	c.add(`<g class="ink"><path d="M%d 54h34" class="line"/><path d="M%d 54h34" class="line peak"/></g>`+"\n", 470, 570)
	c.text(512, 58, "soft", full)
	c.text(612, 58, "soft", dashed)
}

// series draws one line with its points: full ones, or rings for a peak.
func (c *canvas) series(x scale, xs []float64, y func(int) float64, colour string, peak bool) {
	line, point := "line", "dot"
	if peak {
		line, point = "line peak", "ring"
	}
	c.add(`<g class="%s"><polyline class="%s" points="`, colour, line)
	for i, v := range xs {
		c.add("%.1f,%.1f ", x.at(v), y(i))
	}
	c.add(`"/>`)
	for i, v := range xs {
		c.add(`<circle class="%s" cx="%.1f" cy="%.1f" r="4"/>`, point, x.at(v), y(i))
	}
	c.add("</g>\n")
}

// label names a line at its end.
type label struct {
	y           float64
	name, class string
}

// labels writes them from the lowest up, each at least a line's height above the
// one below.
func (c *canvas) labels(labels []label) {
	const apart = 18
	for moved := true; moved; {
		moved = false
		for i := range labels {
			for j := range labels {
				if i < j && math.Abs(labels[i].y-labels[j].y) < apart-0.01 {
					low, high := i, j
					if labels[i].y < labels[j].y {
						low, high = j, i
					}
					labels[high].y, moved = labels[low].y-apart, true
				}
			}
		}
	}
	for _, l := range labels {
		c.add(`<g class="%s">`, l.class)
		c.text(plotRight+16, l.y+4, "name", l.name)
		c.add("</g>\n")
	}
}

// latency draws the quantiles of each subject in a row.
func (c *canvas) latency(results []latencyResult) {
	ms := func(d time.Duration) float64 { return max(d.Seconds()*1000, 0.01) }
	var all []float64
	for _, r := range results {
		all = append(all, ms(r.latency.p50), ms(r.latency.max))
	}
	const left = 280
	x, bottom := between(all, left, plotWidth-40), float64(latencyTop+latencyRow*len(results))
	c.text(24, latencyTop-44, "title", "Latency on the real API server")
	c.text(24, latencyTop-22, "soft", fmt.Sprintf("from the API call to the sink at %.0f changes a second, in ms, logarithmic", results[0].rate))
	for _, v := range x.ticks() {
		c.gridLine(x.at(v), latencyTop-10, x.at(v), bottom)
		c.text(x.at(v), bottom+20, "soft middle", fmt.Sprintf("%g", v))
	}
	for i, r := range results {
		y, l := float64(latencyTop+latencyRow*i+12), r.latency
		c.add(`<g class="%s">`, colours[r.subject.name])
		c.text(left-16, y+4, "name end", r.subject.name)
		c.add(`<path class="line" d="M%.1f %.1fH%.1f"/>`, x.at(ms(l.p50)), y, x.at(ms(l.max)))
		c.add(`<circle class="dot" cx="%.1f" cy="%.1f" r="6"/>`, x.at(ms(l.p50)), y)
		for _, q := range []time.Duration{l.p90, l.p99, l.max} {
			c.add(`<circle class="ring" cx="%.1f" cy="%.1f" r="4.5"/>`, x.at(ms(q)), y)
		}
		c.add("</g>\n")
	}
	c.text((left+plotWidth-40)/2, bottom+44, "soft middle", "● p50, then ○ p90, p99 and the slowest")
}
