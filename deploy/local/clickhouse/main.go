// Command clickhouse serves a real ClickHouse engine on loopback over ClickHouse's HTTP interface, for tests and for a first look.
//
//	go run ./deploy/local/clickhouse --data DIR
//
// It fetches the engine once (180 MB, with pip; python3 is needed), prints one line `ready http://127.0.0.1:PORT version=X`, and ends on SIGINT or SIGTERM.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"sluice/deploy/local/clickhouse/engine"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "clickhouse:", err)
		os.Exit(1)
	}
}

func run() error {
	listen := flag.String("listen", "127.0.0.1:0", "loopback address, host:port")
	data := flag.String("data", "", "data directory, resumed if it is there")
	user := flag.String("user", "", "the only user; anyone may ask if empty")
	passwordFile := flag.String("password-file", "", "the file of that user's password")
	fetch := flag.Bool("fetch", false, "fetch the engine and exit")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *fetch {
		dir, err := engine.Fetch(ctx)
		if err == nil {
			fmt.Fprintln(os.Stdout, dir)
		}
		return err
	}
	if *data == "" || flag.NArg() > 0 {
		return errors.New("--data must name a directory, and there must be no arguments")
	}
	o := engine.Options{Data: *data, Listen: *listen, User: *user}
	if *passwordFile != "" {
		secret, err := os.ReadFile(*passwordFile)
		if err != nil {
			return fmt.Errorf("--password-file: %w", err)
		}
		o.Password = strings.TrimRight(string(secret), "\r\n")
	}
	return serve(ctx, o)
}

func serve(ctx context.Context, o engine.Options) error {
	e, err := engine.Start(ctx, o)
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stdout, "ready %s version=%s\n", e.URL(), e.Version())
	select {
	case <-ctx.Done():
		return e.Stop()
	case <-e.Done():
		return errors.Join(errors.New("the engine has ended by itself"), e.Stop())
	}
}
