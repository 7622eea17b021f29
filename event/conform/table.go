package conform

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// maxShown is how many findings of one promise the table shows.
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
	shown, left := 0, 0
	for _, f := range r.Findings {
		if f.Level != level {
			continue
		}
		if shown == maxShown {
			left++
			continue
		}
		if shown == 0 {
			if _, err := fmt.Fprintf(w, "\n%s: %s\n", level, r.Name); err != nil {
				return err
			}
		}
		shown++
		if _, err := fmt.Fprintf(w, "  %s: %s\n", f.Case, f.Text); err != nil {
			return err
		}
	}
	if left == 0 {
		return nil
	}
	_, err := fmt.Fprintf(w, "  and %d more\n", left)
	return err
}
