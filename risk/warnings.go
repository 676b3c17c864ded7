package risk

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/expr-lang/expr/ast"

	"sluice/internal/config"
	"sluice/internal/vocab"
)

// Warnings lists the rules that load and do nothing: those that have expired as of now, and those whose condition can never be true. OfOrders tells whether a
// feature is counted under something that only an order names.
func (c *Config) Warnings(now time.Time, ofOrders func(feature string) bool) config.Errors {
	var warnings config.Errors
	for i, r := range c.rules {
		at := fmt.Sprintf("[%d]", i)
		if now.UnixMicro() >= r.expiresAt {
			warnings = append(warnings, c.section.Errorf(at+".expires", "the rule has expired and judges no event any more; its owner must look at it again"))
		}
		if why := c.neverHits(r, ofOrders); why != "" {
			warnings = append(warnings, c.section.Errorf(at+".when", "the rule can never hit: %s", why))
		}
	}
	return warnings
}

// literal is a leaf of a condition, or its contrary. A rule hits only if each of a case's literals is known and true.
type literal struct {
	leaf *condition
	not  bool
}

// maxCases bounds the cases of one condition that are looked at; a condition with more is taken to be able to hit.
const maxCases = 1000

// neverHits says why no event can make the rule's condition true, empty if one may.
func (c *Config) neverHits(r *rule, ofOrders func(feature string) bool) (why string) {
	all := r.when.cases(false)
	if len(all) > maxCases {
		return ""
	}
	for t := range uint32(64) {
		if r.types>>t&1 == 0 {
			continue
		}
		for _, literals := range all {
			reason := c.impossible(vocab.Type(t), literals, ofOrders)
			if reason == "" {
				return ""
			}
			why = reason
		}
	}
	return why
}

// cases are the condition as alternatives, each a list of literals that must all be true.
func (c *condition) cases(negated bool) [][]literal {
	switch {
	case c.op == leaf:
		return [][]literal{{{c, negated}}}
	case c.op == not:
		return c.left.cases(!negated)
	case (c.op == or) != negated:
		return append(c.left.cases(negated), c.right.cases(negated)...)
	}
	left, right := c.left.cases(negated), c.right.cases(negated)
	if len(left)*len(right) > maxCases {
		return make([][]literal, maxCases+1)
	}
	var both [][]literal
	for _, l := range left {
		for _, r := range right {
			both = append(both, slices.Concat(l, r))
		}
	}
	return both
}

// impossible says why no event of the type can make all literals true, empty if one may.
func (c *Config) impossible(t vocab.Type, literals []literal, ofOrders func(feature string) bool) string {
	ranges := make(map[int]*values)
	for _, l := range literals {
		for _, slot := range l.leaf.reads {
			at := &c.slots[slot]
			needsOrder := at.field == nil && ofOrders(at.name) || at.field != nil && at.kind != flagKind && strings.HasPrefix(at.name, "order.")
			if needsOrder && t != vocab.Type_PAYMENT {
				return at.name + " is always missing on " + t.Name()
			}
		}
		b := l.leaf.bound
		if b == nil {
			continue
		}
		slot := l.leaf.reads[0]
		of := ranges[slot]
		if of == nil {
			of = newValues(&c.slots[slot], t)
			ranges[slot] = of
		}
		if of.narrow(b.operator(l.not), b); of.none() {
			return "no value of " + c.slots[slot].name + " meets what is asked of it"
		}
	}
	return ""
}

// bound is a leaf that compares one value with a constant.
type bound struct {
	op     string
	number float64
	text   string
	isText bool
}

var (
	mirrored = map[string]string{"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}
	contrary = map[string]string{"<": ">=", "<=": ">", ">": "<=", ">=": "<", "==": "!=", "!=": "=="}
)

func (b *bound) operator(not bool) string {
	if not {
		return contrary[b.op]
	}
	return b.op
}

// boundOf reads `name op constant` or `constant op name`, nil for anything else.
func boundOf(node ast.Node) *bound {
	n, ok := node.(*ast.BinaryNode)
	if !ok || contrary[n.Operator] == "" {
		return nil
	}
	op, name, constant := n.Operator, n.Left, n.Right
	if _, named := name.(*ast.IdentifierNode); !named {
		op, name, constant = mirrored[op], n.Right, n.Left
	}
	if _, named := name.(*ast.IdentifierNode); !named {
		return nil
	}
	switch k := constant.(type) {
	case *ast.IntegerNode:
		return &bound{op: op, number: float64(k.Value)}
	case *ast.FloatNode:
		return &bound{op: op, number: k.Value}
	case *ast.StringNode:
		return &bound{op: op, text: k.Value, isText: true}
	}
	return nil
}

// values are those that a slot may still have.
type values struct {
	least, most         float64
	openLeast, openMost bool // the end itself is left out
	is                  *string
	isNot               []string
	nots                []float64
	empty               bool
}

func newValues(at *slot, t vocab.Type) *values {
	v := &values{least: math.Inf(-1), most: math.Inf(1)}
	switch at.name {
	case "type":
		v.is = new(t.Name())
	case "account.age_days":
		v.least = 0
	}
	return v
}

func (v *values) narrow(op string, b *bound) {
	if b.isText {
		v.narrowText(op, b.text)
		return
	}
	n := b.number
	switch op {
	case "==":
		v.atLeast(n, false)
		v.atMost(n, false)
	case "!=":
		v.nots = append(v.nots, n)
	case "<", "<=":
		v.atMost(n, op == "<")
	case ">", ">=":
		v.atLeast(n, op == ">")
	}
	v.empty = v.empty || v.least > v.most || v.least == v.most && (v.openLeast || v.openMost || slices.Contains(v.nots, v.least))
}

func (v *values) atLeast(n float64, open bool) {
	if n > v.least || n == v.least && open {
		v.least, v.openLeast = n, open
	}
}

func (v *values) atMost(n float64, open bool) {
	if n < v.most || n == v.most && open {
		v.most, v.openMost = n, open
	}
}

func (v *values) narrowText(op, text string) {
	switch op {
	case "==":
		v.empty = v.empty || v.is != nil && *v.is != text || slices.Contains(v.isNot, text)
		v.is = &text
	case "!=":
		v.empty = v.empty || v.is != nil && *v.is == text
		v.isNot = append(v.isNot, text)
	}
}

func (v *values) none() bool { return v.empty }
