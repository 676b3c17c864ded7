// Command systemtest tests a running sluice from outside: it starts real processes on loopback, drives them over HTTP, attacks them, and judges what they
// answered and left.
//
//	go run ./systemtest crash --broker kafka --faults 100
//	go run ./systemtest --help
//
// Each test prints its seed, is bounded in time, ends what it started, and prints one JSON object. The exit code is 1 if a promise is broken.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"sluice/systemtest/cluster"
	"sluice/systemtest/crash"
	"sluice/systemtest/flood"
	"sluice/systemtest/optout"
	"sluice/systemtest/warehouse"
)

type cli struct {
	Crash     crash.Command     `cmd:"" help:"Kill, pause and cut processes at random; compare every output and state key with what the log says."`
	Optout    optout.Command    `cmd:"" help:"Whether an acknowledged opt-out is obeyed by rankers that are paused or cut off."`
	Flood     flood.Command     `cmd:"" help:"What people with settings notice of strangers who flood a node with its public key."`
	Cluster   cluster.Command   `cmd:"" help:"What a storefront notices of processes that die, come and restart."`
	Warehouse warehouse.Command `cmd:"" help:"Every row of ClickHouse and of the Parquet files against the topics; ClickHouse killed and away."`
}

func main() {
	command := kong.Parse(&cli{}, kong.Name("systemtest"), kong.Description("Tests of a running sluice from outside."), kong.UsageOnError())
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	command.BindTo(ctx, (*context.Context)(nil))
	err := command.Run()
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "systemtest: %s: %v\n", command.Command(), err)
		os.Exit(1)
	}
}
