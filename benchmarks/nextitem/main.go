// Command nextitem measures how well the model that serves predicts the next item of a session: it builds features/items from the training sessions, and for
// every position of every test session ranks all items from what came before, without a broker or a server.
//
//	go run ./benchmarks/nextitem -train ../shared/data/diginetica_train.csv.zst -test ../shared/data/diginetica_test.csv.zst
//
// Files are CSV (session_id, item_id, time in Unix seconds), plain or .zst. With -hold N nothing is read for the test: the newest N training sessions are
// held back and predicted instead, which is what parameters may be tuned on.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"sluice/features/items"
	"sluice/systemtest/run"
)

type options struct {
	train, test, out string
	hold, last       int
	skipLast         bool
	knn              items.KNN
}

// result is what one run measured.
type result struct {
	run.Head
	Train       string  `json:"train"`
	Test        string  `json:"test"`
	Options     string  `json:"options"`
	Sessions    int     `json:"sessions"`
	Items       int     `json:"items"`
	Predictions int     `json:"predictions"`
	HR20        float64 `json:"hr_20"`
	MRR20       float64 `json:"mrr_20"`
	Short       float64 `json:"short_lists"` // share of the lists with fewer than 20 items
	BuildMicros float64 `json:"build_cpu_us_per_click"`
	Micros      float64 `json:"cpu_us_per_prediction"` // looking the ids up included
	MegaBytes   float64 `json:"model_mb"`
}

func main() {
	var o options
	flag.StringVar(&o.train, "train", "../shared/data/diginetica_train.csv.zst", "training sessions; several files are separated by commas")
	flag.StringVar(&o.test, "test", "../shared/data/diginetica_test.csv.zst", "test sessions")
	flag.StringVar(&o.out, "out", "", "append the result as a JSON line to this file")
	flag.IntVar(&o.hold, "hold", 0, "predict the newest so many training sessions instead of the test file's")
	flag.IntVar(&o.last, "last", 0, "look only at the newest so many clicks of a session; 0 = all")
	flag.BoolVar(&o.skipLast, "skip-last", false, "take the item just clicked out of the list")
	flag.IntVar(&o.knn.Items, "items", 10, "newest distinct items that are compared")
	flag.IntVar(&o.knn.Sample, "sample", 2000, "newest sessions of each item that are looked at")
	flag.IntVar(&o.knn.Neighbours, "neighbours", 1000, "sessions that vote")
	flag.DurationVar(&o.knn.HalfLife, "half-life", 60*24*time.Hour, "of a neighbour's vote")
	flag.Float64Var(&o.knn.Decay, "decay", 1.5, "places from the session's end until an item counts 1/e")
	flag.Float64Var(&o.knn.Distance, "distance", 3, "places from the shared item until a vote counts 1/e")
	flag.Float64Var(&o.knn.Rarity, "rarity", 0.5, "exponent of an item's inverse frequency")
	flag.IntVar(&o.knn.People, "people", 1, "people that must stand behind an item")
	flag.Parse()
	o.knn.Limit = 20
	if o.skipLast {
		o.knn.Limit++
	}
	if err := benchmark(context.Background(), &o); err != nil {
		fmt.Fprintln(os.Stderr, "nextitem:", err)
		os.Exit(1)
	}
}

// String is the options that change what is predicted.
func (o *options) String() string {
	k := &o.knn
	text := fmt.Sprintf("session-kNN: items %d, sample %d, neighbours %d, half-life %s, decay %g, distance %g, rarity %g, people %d",
		k.Items, k.Sample, k.Neighbours, k.HalfLife, k.Decay, k.Distance, k.Rarity, k.People)
	if o.last > 0 {
		text += fmt.Sprintf(", last %d clicks", o.last)
	}
	if o.skipLast {
		text += ", without the item just clicked"
	}
	return text
}

func benchmark(ctx context.Context, o *options) error {
	var train []session
	for name := range strings.SplitSeq(o.train, ",") {
		sessions, err := read(name)
		if err != nil {
			return err
		}
		train = append(train, sessions...)
	}
	var test []session
	if o.hold > 0 {
		train, test = split(train, o.hold)
	} else {
		var err error
		if test, err = read(o.test); err != nil {
			return err
		}
	}
	r := result{
		Head: run.NewHead(ctx), Train: o.train, Test: o.test, Options: o.String(),
	}
	if o.hold > 0 {
		r.Test = fmt.Sprintf("the newest %d sessions of train", o.hold)
	}
	m := build(train, &r)
	m.predict(test, o, &r)
	return run.Report(o.out, r)
}
