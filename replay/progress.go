package replay

import (
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// bar is the progress bar: bytes of the files read, and rows. A nil bar shows nothing.
type bar struct {
	bar    *progressbar.ProgressBar
	before int64 // bytes of the files that are done
	at     *atomic.Int64
}

// newBar makes a bar if w is a terminal. The size is in bytes, or in rows where a table is among what is read.
func newBar(w io.Writer, size int64, bytes bool) *bar {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return nil
	}
	return &bar{bar: progressbar.NewOptions64(size,
		progressbar.OptionSetWriter(f), progressbar.OptionShowBytes(bytes), progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionSetDescription("replaying"), progressbar.OptionClearOnFinish(),
	)}
}

// show draws the bar. Read is the counter of the file at hand: another one means that the one before is done.
func (b *bar) show(read *atomic.Int64, rows int64) {
	if b == nil {
		return
	}
	if b.at != nil && b.at != read {
		b.before += b.at.Load()
	}
	b.at = read
	b.bar.Describe(fmt.Sprintf("replaying, %d rows", rows))
	_ = b.bar.Set64(min(b.before+read.Load(), b.bar.GetMax64())) // a terminal that cannot be written to shows nothing
}

func (b *bar) finish() {
	if b != nil {
		_ = b.bar.Finish()
	}
}
