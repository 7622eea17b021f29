package conform

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// maxShown is how many kinds of findings of one promise the table shows.
const maxShown = 5

// Worst is the level of the worst finding of all.
func Worst(results []Result) Level {
	worst := Kept
	for i := range results {
		worst = max(worst, results[i].Level())
	}
	return worst
}

// Print writes a table with a line for each promise, and beneath it what was
// found wrong.
func Print(w io.Writer, results []Result) error {
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	_, _ = fmt.Fprintln(tw, "PROMISE\tRESULT\tANSWERS\tNOTE") // Flush tells of an error
	for _, r := range results {
		result := "not seen"
		if r.Cases > 0 {
			result = r.Level().String()
		}
		_, _ = fmt.Fprintf(tw, "%s\t%s\t%d\t%s\n", r.Name, result, r.Cases, r.Note)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	for _, level := range []Level{Breach, Advice} {
		for _, r := range results {
			if err := printFindings(w, level, r); err != nil {
				return err
			}
		}
	}
	return nil
}

func printFindings(w io.Writer, level Level, r Result) error {
	var texts []string
	cases := map[string][]string{}
	for _, f := range r.Findings {
		if f.Level != level {
			continue
		}
		if cases[f.Text] == nil {
			texts = append(texts, f.Text)
		}
		cases[f.Text] = append(cases[f.Text], f.Case)
	}
	if len(texts) == 0 {
		return nil
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\n%s: %s\n", level, r.Name)
	for _, text := range texts[:min(len(texts), maxShown)] {
		fmt.Fprintf(&b, "  %s: %s", cases[text][0], text)
		if n := len(cases[text]); n > 1 {
			fmt.Fprintf(&b, " (and %d more)", n-1)
		}
		b.WriteString("\n")
	}
	if left := len(texts) - maxShown; left > 0 {
		fmt.Fprintf(&b, "  and %d of other kinds\n", left)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
