package app

import (
	"context"
	"io"
	"log/slog"
	"strings"
	"time"

	"sluice/internal/config"
)

// logConfig says what the log has, and how it is written.
type logConfig struct {
	Level  string `yaml:"level"`
	Format string `yaml:"format"`
}

var levels = map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}

func (l logConfig) validate(section config.Section, faults *config.Faults) {
	if _, known := levels[l.Level]; !known {
		faults.Add(section.Errorf(".level", "must be debug, info, warn or error"))
	}
	if l.Format != "text" && l.Format != "json" {
		faults.Add(section.Errorf(".format", "must be text or json"))
	}
}

func (l logConfig) logger(w io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: levels[l.Level]}
	if l.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// Logger is the log that the configuration asks for.
func (c *Config) Logger(w io.Writer) (*slog.Logger, error) {
	d, err := loadDeployment(c)
	if err != nil {
		return nil, err
	}
	return d.Log.logger(w), nil
}

// since is a duration as people read it.
func since(began time.Time) string { return time.Since(began).Round(time.Millisecond).String() }

// tellStart says what starts, and how its configuration differs from the built-in one.
func (n *Node) tellStart() {
	n.started = true
	n.logger.Info("the node starts", "version", n.Version, "roles", strings.Join(n.roles, ","), "data", n.deployment.Server.Data)
	if n.config.file == "" {
		return
	}
	changes := make([]string, len(n.config.changes))
	for i, c := range n.config.changes {
		changes[i] = c.String()
	}
	n.logger.Info("the configuration file was read", "file", n.config.file, "changes", strings.Join(changes, "; "))
}

// tellStop says why the node stops.
func (n *Node) tellStop(ctx, failed context.Context) {
	why := "its listener has failed"
	switch {
	case ctx.Err() != nil:
		why = "it was asked to"
	case failed.Err() != nil:
		why = "a part of it has failed"
	}
	n.logger.Info("the node stops", "because", why, "ran", since(n.began))
}

// tellEnd logs that the node and everything under it have stopped. The caller tells what failed.
func (n *Node) tellEnd() error {
	if n.started {
		n.logger.Info("the node has stopped", "ran", since(n.began))
	}
	return nil
}

// place tells where the node is.
func (n *Node) place(p *parts) *Started {
	s := &Started{URL: n.url(), Data: n.data.path, Policy: p.register.PolicyVersion()}
	if n.broker != nil && len(n.cluster.Brokers) > 0 {
		s.Broker = n.cluster.Brokers[0]
	}
	return s
}
