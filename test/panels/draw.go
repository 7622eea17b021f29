package main

import (
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// window is over how many seconds a rate is taken.
const window = 5

// line is one curve of a panel.
type line struct {
	name   string
	values []float64
}

// rates are those of the counters that match, each named by the pattern's groups.
func rates(all []sample, pattern string) []line {
	return lines(all, pattern, func(key string, at int) float64 {
		from := max(0, at-window)
		if at == from {
			return 0
		}
		return (all[at][key] - all[from][key]) / float64(at-from)
	})
}

// values are those of the gauges that match.
func values(all []sample, pattern string, scale float64) []line {
	return lines(all, pattern, func(key string, at int) float64 { return all[at][key] * scale })
}

func lines(all []sample, pattern string, of func(key string, at int) float64) (out []line) {
	match := regexp.MustCompile("^" + pattern + "$")
	for _, key := range slices.Sorted(maps.Keys(all[len(all)-1])) {
		m := match.FindStringSubmatch(key)
		if m == nil {
			continue
		}
		l := line{name: strings.Join(m[1:], " ")}
		for at := range all {
			l.values = append(l.values, of(key, at))
		}
		if slices.Max(l.values) > 0 {
			out = append(out, l)
		}
	}
	return out
}

// quantile estimates one from the buckets of a histogram, over the window.
func quantile(all []sample, name string, q float64, called string) line {
	type bucket struct {
		to  float64
		key string
	}
	var buckets []bucket
	for key := range all[len(all)-1] {
		if of, to, ok := strings.Cut(key, " le="); ok && of == name {
			bound, err := strconv.ParseFloat(to, 64)
			if err == nil && !math.IsInf(bound, 1) {
				buckets = append(buckets, bucket{bound, key})
			}
		}
	}
	slices.SortFunc(buckets, func(a, b bucket) int { return int(math.Copysign(1, a.to-b.to)) })
	out := line{name: called}
	for at := range all {
		from, value := max(0, at-window), 0.0
		total := 0.0
		if len(buckets) > 0 {
			last := buckets[len(buckets)-1].key
			total = all[at][last] - all[from][last]
		}
		before, below := 0.0, 0.0
		for _, b := range buckets {
			count := all[at][b.key] - all[from][b.key]
			if total > 0 && count >= q*total {
				value = below
				if count > before {
					value += (b.to - below) * (q*total - before) / (count - before)
				}
				break
			}
			before, below = count, b.to
		}
		out.values = append(out.values, value)
	}
	return out
}

var colours = []string{"#3b82f6", "#f59e0b", "#10b981", "#ef4444", "#8b5cf6", "#64748b"}

const (
	panelWidth, panelHeight, columns = 310, 150, 3
)

// draw lays the panels out.
func draw(all []sample) string {
	panels := []struct {
		title, unit string
		lines       []line
	}{
		{"Changes seen", "/s", rates(all, `watcher kwatchman_changes_total action=(\w+) resource=\S+ via=watch`)},
		{"What became of events", "/s", append(rates(all, `watcher kwatchman_step_requests_total outcome=(stopped) step=(1 )\S+`),
			rates(all, `watcher kwatchman_step_requests_total outcome=(stopped|retried) step=(3 )\S+`)...)},
		{"Stopped at diff, by reason", "/s", rates(all, `watcher kwatchman_events_stopped_total reason=(.+) step=1 \S+`)},
		{"Events that wait", "", values(all, `watcher (kwatchman_queue_events)`, 1)},
		{"The oldest has waited", "s", values(all, `watcher (kwatchman_queue_oldest_seconds)`, 1)},
		{"From the change to its acknowledgement", "s", []line{
			quantile(all, "watcher kwatchman_delivery_duration_seconds", .5, "p50"), quantile(all, "watcher kwatchman_delivery_duration_seconds", .9, "p90"),
		}},
		{"Functions: requests", "/s", rates(all, `(diff|log) kwatchman_function_requests_total function=\w+ outcome=(\w+)`)},
		{"Memory", "MB", values(all, `(\w+) process_resident_memory_bytes`, 1e-6)},
		{"CPU", "%", scaled(rates(all, `(\w+) process_cpu_seconds_total`), 100)},
	}
	var b strings.Builder
	rows := (len(panels) + columns - 1) / columns
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="system-ui, sans-serif" font-size="11">`+"\n",
		columns*panelWidth, rows*panelHeight)
	b.WriteString("<title>Nine panels of the dashboard over 90 seconds; an endpoint fails from second 30 to 50</title>\n")
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#ffffff"/>`+"\n", columns*panelWidth, rows*panelHeight)
	for i, p := range panels {
		panel(&b, i%columns*panelWidth, i/columns*panelHeight, p.title, p.unit, p.lines)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func scaled(lines []line, by float64) []line {
	for _, l := range lines {
		for i := range l.values {
			l.values[i] *= by
		}
	}
	return lines
}

// panel draws one, with its scale and the time in which the endpoint fails.
func panel(b *strings.Builder, x, y int, title, unit string, lines []line) {
	const left, top, width, height = 38, 24, panelWidth - 50, panelHeight - 60
	most := 0.0
	for _, l := range lines {
		most = max(most, slices.Max(l.values))
	}
	most = nice(most)
	fmt.Fprintf(b, `<g transform="translate(%d %d)"><text x="8" y="15" fill="#0f172a" font-weight="600">%s</text>`, x, y, title)
	px := func(second float64) float64 { return left + second*width/(whole-1) }
	fmt.Fprintf(b, `<rect x="%.1f" y="%d" width="%.1f" height="%d" fill="#fee2e2"/>`, px(broken), top, px(mended)-px(broken), height)
	for _, part := range []float64{0, .5, 1} {
		level := top + height*(1-part)
		fmt.Fprintf(b, `<path d="M%d %.1fh%d" stroke="#e2e8f0"/><text x="%d" y="%.1f" fill="#64748b" text-anchor="end" font-size="9">%s%s</text>`,
			left, level, width, left-4, level+3, strconv.FormatFloat(part*most, 'g', 3, 64), unit)
	}
	for i, l := range lines {
		var path strings.Builder
		for at, v := range l.values {
			fmt.Fprintf(&path, "%s%.1f %.1f", map[bool]string{true: "M", false: "L"}[at == 0], px(float64(at)), top+height*(1-v/most))
		}
		colour := colours[i%len(colours)]
		fmt.Fprintf(b, `<path d="%s" fill="none" stroke="%s" stroke-width="1.5"/>`, path.String(), colour)
		column, row := i%3, i/3
		fmt.Fprintf(b, `<circle cx="%d" cy="%d" r="3" fill="%s"/><text x="%d" y="%d" fill="#334155" font-size="9">%s</text>`,
			left+column*90, panelHeight-24+row*12, colour, left+6+column*90, panelHeight-21+row*12, escape(l.name))
	}
	b.WriteString("</g>\n")
}

// names are what people call what a pattern found.
var names = map[string]string{
	"stopped 1": "stopped at diff", "stopped 3": "taken at the end", "retried 3": "tried again",
	"kwatchman_queue_events": "events", "kwatchman_queue_oldest_seconds": "oldest",
}

// nice is the next number that reads well on a scale.
func nice(v float64) float64 {
	if v <= 0 {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, n := range []float64{1, 2, 2.5, 5, 10} {
		if n*power >= v {
			return n * power
		}
	}
	return 10 * power
}

func escape(text string) string {
	text = strings.TrimSpace(text)
	if called := names[text]; called != "" {
		text = called
	}
	return strings.NewReplacer("&", "&amp;", "<", "&lt;").Replace(text)
}
