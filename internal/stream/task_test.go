package stream

import "testing"

// joined emits what it gathered as one record.
type joined struct {
	task *Task
	held []byte
}

func (j *joined) Flush() error {
	if len(j.held) > 0 {
		j.task.Emit("out", 0, nil, j.held)
	}
	j.held = nil
	return nil
}

func (j *joined) Discard() { j.held = nil }

func TestBufferIsFlushedWithItsTransaction(t *testing.T) {
	task := NewTask(0)
	j := &joined{task: task}
	task.Attach(j)
	j.held = append(j.held, "ab"...)
	if out := task.Take(); len(out) != 1 || string(out[0].Value) != "ab" {
		t.Errorf("emitted %v", out)
	}
	if out := task.Take(); len(out) != 0 {
		t.Errorf("emitted %v again", out)
	}
	j.held = append(j.held, 'c')
	task.finish(false)
	if out := task.Take(); len(out) != 0 {
		t.Errorf("an aborted transaction left %v", out)
	}
}
