package record

// message is what appendMessage needs of a generated type.
type message interface {
	SizeVT() int
	MarshalToSizedBufferVT(data []byte) (int, error)
}

// AppendMessage appends a message's bytes to buf.
func AppendMessage(buf []byte, m message) ([]byte, error) {
	start := len(buf)
	buf = append(buf, make([]byte, m.SizeVT())...)
	_, err := m.MarshalToSizedBufferVT(buf[start:])
	return buf, err
}
