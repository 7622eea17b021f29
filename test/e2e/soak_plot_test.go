package e2e

import (
	"bytes"
	"fmt"
	"math"
)

// plot draws what was measured: a panel for each value, a line for each process.
func (s *soak) plot() []byte {
	const width, height, left, right, top, bottom = 840, 190, 60, 560, 40, 150
	colours := []string{"#0b62c4", "#0f7b6c", "#c2410c", "#7c3aed", "#be185d"}
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="system-ui, sans-serif" font-size="12">`+"\n", width, height*len(soakValues)+10)
	fmt.Fprintf(&b, "<title>RSS, goroutines and file descriptors during a soak</title>\n<rect width=\"%d\" height=\"%d\" fill=\"#ffffff\"/>\n", width, height*len(soakValues)+10)
	whole := float64(len(s.rows)-1) * s.every.Minutes()
	x := func(row int) float64 { return left + float64(row)/float64(max(len(s.rows)-1, 1))*(right-left) }
	for k, v := range soakValues {
		most := 0.0
		for _, row := range s.rows {
			for _, m := range row {
				if m != nil {
					most = max(most, v.of(m))
				}
			}
		}
		step := math.Pow(10, math.Floor(math.Log10(max(most, 1))))
		most = math.Ceil(most/step*2) / 2 * step
		y := func(value float64) float64 { return bottom - value/most*(bottom-top) }
		fmt.Fprintf(&b, `<g transform="translate(0 %d)"><text x="16" y="22" fill="#0f172a" font-weight="600">%s</text>`+"\n", k*height, v.name)
		for _, part := range []float64{0, .5, 1} {
			fmt.Fprintf(&b, `<path d="M%d %.1fH%d" stroke="#e2e8f0"/><text x="%d" y="%.1f" fill="#59636e" text-anchor="end">%g</text>`+"\n",
				left, y(part*most), right, left-8, y(part*most)+4, part*most)
		}
		for minute := 0.0; minute <= whole; minute += max(1, math.Floor(whole/5)) {
			at := left + minute/max(whole, 0.1)*(right-left)
			fmt.Fprintf(&b, `<text x="%.1f" y="%d" fill="#59636e" text-anchor="middle">%g min</text>`+"\n", at, bottom+18, minute)
		}
		for i, name := range s.names {
			pen := "M"
			fmt.Fprintf(&b, `<path fill="none" stroke="%s" stroke-width="1.5" d="`, colours[i%len(colours)])
			for at, row := range s.rows {
				if row[i] == nil { // it is paused, or the next one has not begun
					pen = "M"
					continue
				}
				fmt.Fprintf(&b, "%s%.1f %.1f", pen, x(at), y(v.of(row[i])))
				pen = "L"
			}
			fmt.Fprintf(&b, `"/><text x="%d" y="%d" fill="%s">%s, at the end %.0f</text>`+"\n", right+12, top+10+i*20, colours[i%len(colours)],
				name, s.median(i, .8, 1, v.of))
		}
		b.WriteString("</g>\n")
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}
