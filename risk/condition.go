package risk

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/checker"
	"github.com/expr-lang/expr/compiler"
	"github.com/expr-lang/expr/conf"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/optimizer"
	"github.com/expr-lang/expr/parser"
	"github.com/expr-lang/expr/types"
	"github.com/expr-lang/expr/vm"

	"sluice/internal/spell"
)

// truth is what a condition is: a missing value makes a comparison unknown, and and, or, not follow Kleene's logic:
//
//	unknown and false = false    unknown or true = true    otherwise unknown stays unknown, also under not
//
// So the order of the operands never matters, a value that could not have changed the result is not reported as missing,
// and only a condition that is true hits.
type truth uint8

const (
	no truth = iota
	yes
	unknown
)

const (
	maxLength    = 4000   // of a condition, in bytes
	maxNodes     = 200    // of one condition's syntax tree
	memoryBudget = 10_000 // of one comparison, in expr's units
)

// condition is a compiled `when`: comparisons (leaves) joined by and, or and not.
type condition struct {
	op          operator
	left, right *condition  // right is nil for not; both are for a leaf
	program     *vm.Program // of a leaf
	reads       []int       // slots of the values that a leaf reads
	bound       *bound      // of a leaf that compares one value with a constant
}

type operator uint8

const (
	leaf operator = iota
	and
	or
	not
)

// judge evaluates the condition on the values of a sheet. A leaf that fails to run is unknown.
func (c *condition) judge(s *sheet) truth {
	switch c.op {
	case not:
		return [...]truth{no: yes, yes: no, unknown: unknown}[c.left.judge(s)]
	case and:
		return c.join(s, no)
	case or:
		return c.join(s, yes)
	default:
		return c.compare(s)
	}
}

// join evaluates both sides of and (decisive: no) or of or (decisive: yes); a decisive side settles it.
func (c *condition) join(s *sheet, decisive truth) truth {
	left := c.left.judge(s)
	if left == decisive {
		return decisive
	}
	right := c.right.judge(s)
	if right == decisive || left != unknown {
		return right
	}
	return unknown
}

func (c *condition) compare(s *sheet) truth {
	for _, slot := range c.reads {
		if !s.present[slot] {
			return unknown
		}
	}
	result, err := s.vm.Run(c.program, s.env)
	if err != nil {
		return unknown
	}
	if result == true {
		return yes
	}
	return no
}

// missing appends the slots that kept an unknown condition from being decided, each once.
func (c *condition) missing(s *sheet, slots []int) []int {
	if c.judge(s) != unknown {
		return slots
	}
	if c.op == leaf {
		for _, slot := range c.reads {
			if !s.present[slot] && !slices.Contains(slots, slot) {
				slots = append(slots, slot)
			}
		}
		return slots
	}
	slots = c.left.missing(s, slots)
	if c.right != nil {
		slots = c.right.missing(s, slots)
	}
	return slots
}

// slots lists all slots that the condition reads, in the order of its text.
func (c *condition) slots() []int {
	if c.op == leaf {
		return c.reads
	}
	all := slices.Clone(c.left.slots())
	if c.right == nil {
		return all
	}
	for _, slot := range c.right.slots() {
		if !slices.Contains(all, slot) {
			all = append(all, slot)
		}
	}
	return all
}

// language is what conditions are written in: the names that they may read, with their types. It gives each name that is read a slot.
type language struct {
	kinds   map[string]kind
	environ types.Map
	slots   []string // names in the order of their slots
}

func newLanguage(features []string) *language {
	l := &language{kinds: make(map[string]kind, len(fields)+len(features)), environ: make(types.Map, len(fields)+len(features))}
	for _, name := range features {
		l.declare(name, numberKind)
	}
	for _, f := range fields {
		l.declare(f.name, f.kind)
	}
	return l
}

func (l *language) declare(name string, k kind) {
	l.kinds[name] = k
	l.environ[name] = [...]types.Type{numberKind: types.Float64, textKind: types.String, flagKind: types.Bool}[k]
}

func (l *language) slot(name string) int {
	if i := slices.Index(l.slots, name); i >= 0 {
		return i
	}
	l.slots = append(l.slots, name)
	return len(l.slots) - 1
}

// compile checks and compiles a condition. The error says what was expected, and where in the text.
func (l *language) compile(source string) (*condition, error) {
	if strings.TrimSpace(source) == "" {
		return nil, errors.New("must be a condition")
	}
	if len(source) > maxLength {
		return nil, fmt.Errorf("must be a condition of at most %d characters", maxLength)
	}
	o := conf.CreateNew()
	for _, option := range []expr.Option{expr.Env(l.environ), expr.AsBool(), expr.MaxNodes(maxNodes), expr.DisableAllBuiltins()} {
		option(o)
	}
	clear(o.Builtins)
	tree, err := parser.ParseWithConfig(source, o)
	if err != nil {
		return nil, located(err)
	}
	if err := l.resolve(&tree.Node); err != nil {
		return nil, err
	}
	if _, err := checker.Check(tree, o); err != nil {
		return nil, located(err)
	}
	c, err := l.split(tree, o)
	if err != nil {
		return nil, err
	}
	if len(c.slots()) == 0 {
		return nil, errors.New("must read a value")
	}
	return c, nil
}

// located says where in the condition expr found a fault, without repeating the text, and calls types what rules call them.
func located(err error) error {
	var fault *file.Error
	if !errors.As(err, &fault) {
		return errors.New(ruleTypes(err.Error()))
	}
	return faultAt(fault.Location, "%s", ruleTypes(fault.Message))
}

var goTypes = regexp.MustCompile(`\b(float64|int|string|bool)\b`)

func ruleTypes(message string) string {
	return goTypes.ReplaceAllStringFunc(message, func(name string) string {
		return map[string]string{"float64": "number", "int": "number", "string": "text", "bool": "true or false"}[name]
	})
}

func faultAt(at file.Location, format string, args ...any) error {
	return fmt.Errorf("at character %d: %s", at.From+1, fmt.Sprintf(format, args...))
}

// operators of conditions. What allocates, calls or may fail is left out; a quotient by a value can be written as a product.
var operators = map[string]bool{
	"and": true, "&&": true, "or": true, "||": true, "==": true, "!=": true, "<": true, "<=": true, ">": true, ">=": true,
	"+": true, "-": true, "*": true, "/": true, "in": true, "contains": true, "startsWith": true, "endsWith": true, "matches": true,
}

// resolve checks that a tree holds only what the language has, and turns dotted names into names of the environment.
func (l *language) resolve(node *ast.Node) error {
	switch n := (*node).(type) {
	case *ast.IntegerNode, *ast.FloatNode, *ast.StringNode, *ast.BoolNode:
		return nil
	case *ast.IdentifierNode, *ast.MemberNode:
		return l.resolveName(node)
	case *ast.UnaryNode:
		return l.resolve(&n.Node)
	case *ast.BinaryNode:
		return l.resolveBinary(n)
	case *ast.CallNode, *ast.BuiltinNode:
		return faultAt((*node).Location(), "a condition cannot call functions")
	default:
		return faultAt((*node).Location(), "there must only be names, numbers, texts, comparisons, + - * /, and, or, not")
	}
}

func (l *language) resolveName(node *ast.Node) error {
	name, ok := dotted(*node)
	if !ok {
		return faultAt((*node).Location(), "this must be the name of a feature or of a field of the event")
	}
	if _, known := l.kinds[name]; !known {
		return faultAt(start(*node), "unknown name %s%s", name, l.suggest(name))
	}
	if _, member := (*node).(*ast.MemberNode); member {
		ast.Patch(node, &ast.IdentifierNode{Value: name})
	}
	return nil
}

func (l *language) resolveBinary(n *ast.BinaryNode) error {
	if !operators[n.Operator] {
		return faultAt(n.Location(), "operator %s is not one that conditions have", n.Operator)
	}
	if err := l.resolve(&n.Left); err != nil {
		return err
	}
	switch n.Operator {
	case "in":
		return listOfConstants(n)
	case "/":
		if !nonZero(n.Right) {
			return faultAt(n.Location(), "the divisor must be a number other than 0; write a > 3 * b instead of a / b > 3")
		}
	case "matches":
		if _, ok := n.Right.(*ast.StringNode); !ok {
			return faultAt(n.Location(), "the pattern must be a text")
		}
	}
	return l.resolve(&n.Right)
}

func listOfConstants(n *ast.BinaryNode) error {
	list, ok := n.Right.(*ast.ArrayNode)
	if !ok || len(list.Nodes) == 0 {
		return faultAt(n.Location(), "after in there must be a list such as [\"a\", \"b\"]")
	}
	first, _ := constantKind(list.Nodes[0])
	for _, element := range list.Nodes {
		if k, constant := constantKind(element); !constant || k != first {
			return faultAt(n.Location(), "the list must hold only numbers, or only texts")
		}
	}
	return nil
}

// constantKind is the kind of a literal; false for anything else.
func constantKind(node ast.Node) (kind, bool) {
	switch node.(type) {
	case *ast.IntegerNode, *ast.FloatNode:
		return numberKind, true
	case *ast.StringNode:
		return textKind, true
	}
	return 0, false
}

func nonZero(node ast.Node) bool {
	switch n := node.(type) {
	case *ast.IntegerNode:
		return n.Value != 0
	case *ast.FloatNode:
		return n.Value != 0
	}
	return false
}

// dotted is the name that an identifier or a chain of members spells.
func dotted(node ast.Node) (string, bool) {
	switch n := node.(type) {
	case *ast.IdentifierNode:
		return n.Value, true
	case *ast.MemberNode:
		of, ok := dotted(n.Node)
		property, isText := n.Property.(*ast.StringNode)
		if !ok || !isText || n.Optional || n.Method {
			return "", false
		}
		return of + "." + property.Value, true
	}
	return "", false
}

// start is where a dotted name begins.
func start(node ast.Node) file.Location {
	for {
		member, ok := node.(*ast.MemberNode)
		if !ok {
			return node.Location()
		}
		node = member.Node
	}
}

// suggest names the known name that is nearest to a wrong one, or says where the names are.
func (l *language) suggest(name string) string {
	best, distance := "", 4
	for known := range l.kinds {
		if d := spell.Distance(name, known); d < distance || d == distance && best != "" && known < best {
			best, distance = known, d
		}
	}
	if best == "" {
		return "; `sluice config print rules` lists the names"
	}
	return "; did you mean " + best + "?"
}

// split compiles a checked tree: and, or and not become nodes of ours, everything below them programs of expr.
func (l *language) split(tree *parser.Tree, o *conf.Config) (*condition, error) {
	part := func(node ast.Node) (*condition, error) {
		return l.split(&parser.Tree{Node: node, Source: tree.Source}, o)
	}
	switch n := tree.Node.(type) {
	case *ast.UnaryNode:
		if n.Operator == "not" || n.Operator == "!" {
			operand, err := part(n.Node)
			return &condition{op: not, left: operand}, err
		}
	case *ast.BinaryNode:
		op, ok := map[string]operator{"and": and, "&&": and, "or": or, "||": or}[n.Operator]
		if !ok {
			break
		}
		left, err := part(n.Left)
		if err != nil {
			return nil, err
		}
		right, err := part(n.Right)
		return &condition{op: op, left: left, right: right}, err
	}
	return l.compileLeaf(tree, o)
}

func (l *language) compileLeaf(tree *parser.Tree, o *conf.Config) (*condition, error) {
	names := &nameCollector{language: l}
	ast.Walk(&tree.Node, names)
	compared := boundOf(tree.Node)
	if err := optimizer.Optimize(&tree.Node, o); err != nil {
		return nil, located(err)
	}
	program, err := compiler.Compile(tree, o)
	if err != nil {
		return nil, located(err)
	}
	return &condition{program: program, reads: names.slots, bound: compared}, nil
}

// nameCollector gathers the slots of the names in a tree.
type nameCollector struct {
	language *language
	slots    []int
}

// Visit is called for every node of a tree.
func (c *nameCollector) Visit(node *ast.Node) {
	name, ok := (*node).(*ast.IdentifierNode)
	if !ok {
		return
	}
	if slot := c.language.slot(name.Value); !slices.Contains(c.slots, slot) {
		c.slots = append(c.slots, slot)
	}
}
