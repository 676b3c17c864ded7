// Package vocab is the vocabulary that every room shares: event types, channels and order lines.
// It names no person, so that a room may read it without touching raw events.
package vocab

import "strings"

var (
	typeNames         = wireNames(Type_name)
	typeValues        = wireValues(typeNames)
	channelNames      = wireNames(Channel_name)
	channelValues     = wireValues(channelNames)
	counterpartyNames = wireNames(CounterpartyKind_name)
	counterpartyKinds = wireValues(counterpartyNames)
)

// ParseType returns the type with the JSON name s ("view_item").
func ParseType(s string) (Type, bool) { return lookup[Type](typeValues, s) }

// ParseChannel returns the channel with the JSON name s ("web").
func ParseChannel(s string) (Channel, bool) { return lookup[Channel](channelValues, s) }

// ParseCounterpartyKind returns the kind with the JSON name s ("seller").
func ParseCounterpartyKind(s string) (CounterpartyKind, bool) {
	return lookup[CounterpartyKind](counterpartyKinds, s)
}

// Name is the JSON name of the type, empty where it is unspecified.
func (x Type) Name() string { return typeNames[int32(x)] }

// Name is the JSON name of the channel, empty where it is unspecified.
func (x Channel) Name() string { return channelNames[int32(x)] }

// Name is the JSON name of the kind, empty where it is unspecified.
func (x CounterpartyKind) Name() string { return counterpartyNames[int32(x)] }

// Types lists the JSON names of all event types in the order of their numbers.
func Types() []string {
	names := make([]string, 0, len(typeNames))
	for i := int32(1); i <= int32(len(typeNames)); i++ {
		names = append(names, typeNames[i])
	}
	return names
}

func wireNames(protoNames map[int32]string) map[int32]string {
	names := make(map[int32]string, len(protoNames))
	for number, name := range protoNames {
		if number != 0 {
			names[number] = strings.ToLower(name)
		}
	}
	return names
}

func wireValues(names map[int32]string) map[string]int32 {
	values := make(map[string]int32, len(names))
	for number, name := range names {
		values[name] = number
	}
	return values
}

func lookup[E ~int32](values map[string]int32, s string) (E, bool) {
	number, ok := values[s]
	return E(number), ok
}
