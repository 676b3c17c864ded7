package warehouse

import (
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"
)

// print shows the result to people.
func (r *result) print(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	defer t.Flush() //nolint:errcheck // a terminal
	if r.Fraud != nil {
		r.Fraud.print(t)
	}
	if r.Away != nil {
		r.Away.print(t)
	}
}

func (r *fraudResult) print(w io.Writer) {
	fmt.Fprintf(w, "\ndays\t%d\tdiffering\t%d\t\noutcomes\t%d\tdiffering\t%d\t\n\n", r.Days, r.DifferentDays, len(r.Decisions), r.DifferentOutcome)
	fmt.Fprintln(w, "\trows\tstored in s\trows/s\tCPU s\tpeak RSS MB\tdisk MB\tread back in s\trows/s\t")
	for _, f := range []struct {
		name string
		filled
	}{{"ClickHouse", r.ClickHouse}, {"Parquet", r.Parquet}} {
		fmt.Fprintf(w, "%s\t%d\t%.1f\t%.0f\t%.1f\t%.0f\t%.1f\t%.1f\t%.0f\t\n",
			f.name, f.Rows, f.Seconds, f.RowsPerSecond, f.CPU, f.PeakRSS, f.Disk, f.ReadSeconds, f.ReadRowsPerSecond)
	}
}

func (r *awayResult) print(w io.Writer) {
	fmt.Fprintf(w, "\naway\t%.0f s\tevents\t%d\tacts of deletion\t%d\t\n", r.Seconds, r.Events, r.Acts)
	fmt.Fprintf(w, "torn blocks\t%d\trows\t%d\tof which stored\t%d\t\n", r.BlocksTorn, r.RowsTorn, r.RowsTornStored)
	fmt.Fprintf(w, "peak RSS MB\t%.0f\tbefore\t%.0f\tbuffered rows\t%.0f\t\n", r.RSSAway, r.RSSBefore, r.BufferedAway)
	fmt.Fprintf(w, "records behind\t%d\tcaught up after\t%.1f s\t\t\t\n\n", r.BehindAway, r.CatchUp)
	fmt.Fprintln(w, "table\ton the topic\tpurged\tstored\tlost\tdoubled\tundeleted\tstrange\tcounted\t")
	for _, c := range r.Tables {
		counted := "-"
		if c.Counted != nil {
			counted = strconv.FormatInt(*c.Counted, 10)
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%s\t\n", c.Table, c.Topic, c.Purged, c.Stored, c.Lost, c.Doubled, c.Undeleted, c.Strange, counted)
	}
}
