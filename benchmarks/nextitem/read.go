package main

import (
	"cmp"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// session is one visit, its clicks in order.
type session struct{ clicks []click }

type click struct {
	item string
	time int64 // Unix microseconds
}

// read reads the sessions of a file, in the order of their last click.
func read(name string) (sessions []session, err error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	var r io.Reader = f
	if strings.HasSuffix(name, ".zst") {
		z, err := zstd.NewReader(f)
		if err != nil {
			return nil, err
		}
		defer z.Close()
		r = z
	}
	byID := make(map[string]int)
	rows := csv.NewReader(r)
	rows.ReuseRecord = true
	if _, err := rows.Read(); err != nil {
		return nil, fmt.Errorf("reading the header of %s: %w", name, err)
	}
	for {
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", name, err)
		}
		seconds, err := strconv.ParseFloat(row[2], 64)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", name, err)
		}
		at, known := byID[row[0]]
		if !known {
			at = len(sessions)
			byID[strings.Clone(row[0])] = at
			sessions = append(sessions, session{})
		}
		sessions[at].clicks = append(sessions[at].clicks, click{strings.Clone(row[1]), int64(seconds * 1e6)})
	}
	for i := range sessions {
		slices.SortStableFunc(sessions[i].clicks, func(a, b click) int { return cmp.Compare(a.time, b.time) })
	}
	slices.SortStableFunc(sessions, func(a, b session) int { return cmp.Compare(a.last(), b.last()) })
	return sessions, nil
}

func (s *session) last() int64 { return s.clicks[len(s.clicks)-1].time }

// split holds the newest n sessions back.
func split(sessions []session, n int) (train, test []session) {
	cut := max(0, len(sessions)-n)
	return sessions[:cut], sessions[cut:]
}
