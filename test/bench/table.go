package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// table is a Markdown table with what is to be known beside it.
type table struct {
	title string
	note  string // above
	foot  string // below
	head  []string
	rows  [][]string
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// comparison is a table of all compared subjects, with the ratio.
func comparison(title string, left ...string) table {
	head := left
	for _, s := range compared {
		head = append(head, s.name)
	}
	return table{title: title, head: append(head, "kwatchman is better by")}
}

// compare makes the row of a value of all compared subjects.
func compare[R any](left, value string, results []R, of func(R) float64, cell func(float64) string) []string {
	return compareEach(left, value, len(results), func(i int) float64 { return of(results[i]) }, cell)
}

// compareEach is compare by number; subjects from n on have no value.
func compareEach(left, value string, n int, of func(int) float64, cell func(float64) string) []string {
	row := []string{left, value}
	for i := range compared {
		if i < n {
			row = append(row, cell(of(i)))
		} else {
			row = append(row, "–")
		}
	}
	if n < len(compared) {
		return append(row, "–")
	}
	return append(row, ratio(of(len(compared)-1), of(0)))
}

// compareRates is compareEach for what is better the more it is.
func compareRates(left, value string, n int, of func(int) float64) []string {
	row := compareEach(left, value, n, of, countCell)
	if n == len(compared) {
		row[len(row)-1] = ratio(of(0), of(len(compared)-1))
	}
	return row
}

// ratio is how many times b fits into a.
func ratio(a, b float64) string {
	if b <= 0 {
		return "–"
	}
	return fmt.Sprintf("%.1f", a/b)
}

// write aligns the columns, so that the text reads well too.
func (t *table) write(w io.Writer) {
	widths := make([]int, len(t.head))
	for _, row := range append([][]string{t.head}, t.rows...) {
		for i, c := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(c), 3)
		}
	}
	line := func(cells []string, pad string) {
		var b strings.Builder
		for i, c := range cells {
			b.WriteString("| " + c + strings.Repeat(pad, widths[i]-utf8.RuneCountInString(c)) + " ")
		}
		_, _ = fmt.Fprintln(w, b.String()+"|")
	}
	_, _ = fmt.Fprintf(w, "\n## %s\n\n", t.title)
	if t.note != "" {
		_, _ = fmt.Fprintf(w, "%s\n\n", t.note)
	}
	line(t.head, " ")
	line(make([]string, len(t.head)), "-")
	for _, row := range t.rows {
		line(row, " ")
	}
	if t.foot != "" {
		_, _ = fmt.Fprintf(w, "\n%s\n", t.foot)
	}
}

const mega = 1 << 20

func megabytes(n int64) string { return bytesCell(float64(n)) }

func bytesCell(n float64) string {
	if n < 100*mega {
		return fmt.Sprintf("%.1f MB", n/mega)
	}
	return thousands(int(n/mega+0.5)) + " MB"
}

func fineBytesCell(n float64) string { return fmt.Sprintf("%.2f MB", n/mega) }
func secondsCell(s float64) string   { return fmt.Sprintf("%.2f s", s) }
func seconds(d time.Duration) string { return secondsCell(d.Seconds()) }
func millisCell(s float64) string    { return millis(time.Duration(s * float64(time.Second))) }
func countCell(n float64) string     { return thousands(int(n + 0.5)) }

// millis shows three digits.
func millis(d time.Duration) string {
	ms := d.Seconds() * 1000
	switch {
	case ms < 10:
		return fmt.Sprintf("%.2f ms", ms)
	case ms < 100:
		return fmt.Sprintf("%.1f ms", ms)
	}
	return thousands(int(ms+0.5)) + " ms"
}

// thousands writes a number with commas.
func thousands(n int) string {
	if n < 0 {
		return "-" + thousands(-n)
	}
	if n < 1000 {
		return strconv.Itoa(n)
	}
	return fmt.Sprintf("%s,%03d", thousands(n/1000), n%1000)
}
