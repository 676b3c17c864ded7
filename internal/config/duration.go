package config

import (
	"errors"
	"strconv"
	"strings"
	"time"
)

// ParseDuration reads a positive duration as the YAML files write it: Go's notation ("30m", "1h30m"), or whole days ("7d").
func ParseDuration(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.Atoi(days)
		if err != nil || n < 1 || n > 36_500 {
			return 0, errors.New("must be a duration such as 30m, 6h or 7d")
		}
		return time.Duration(n) * 24 * time.Hour, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 {
		return 0, errors.New("must be a duration such as 30m, 6h or 7d")
	}
	return d, nil
}
