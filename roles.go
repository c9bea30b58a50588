package gatehouse

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// RoleOrder says which roles come with another one: who has a role of the list
// has the ones after it too.
type RoleOrder struct {
	// Where this order was configured, as file:line. Set by the Caddyfile.
	Source string `json:"source,omitempty"`

	// Roles, the greatest first. Compared exactly.
	Roles []string `json:"roles"`
}

// roleOrder holds, for each role, the roles that come with it. Only rules look
// at it: what the upstream is told are the roles in the token.
type roleOrder map[string]map[string]bool

func (o *RoleOrder) check() error {
	switch {
	case len(o.Roles) < 2:
		return at(o.Source, fmt.Errorf("role_order: found %s; expected `role_order <role> > <role> > ...`, the greatest first", count(o.Roles)))
	case slices.Contains(o.Roles, ""):
		return at(o.Source, errors.New("role_order: found an empty role"))
	}
	return nil
}

func (g *Gatehouse) checkRoleOrders() error {
	for _, o := range g.RoleOrders {
		if o == nil {
			return errors.New("role_orders: found null")
		}
		if err := o.check(); err != nil {
			return err
		}
	}
	_, err := newRoleOrder(g.RoleOrders)
	return err
}

// newRoleOrder closes over all lines. A role that would come with itself is an
// error at the line that closes the circle.
func newRoleOrder(lines []*RoleOrder) (roleOrder, error) {
	if len(lines) == 0 {
		return nil, nil
	}
	below := make(map[string][]string)
	for _, line := range lines {
		for i, role := range line.Roles[:len(line.Roles)-1] {
			next := line.Roles[i+1]
			if way := pathDown(below, next, role, nil); way != nil {
				return nil, at(line.Source, fmt.Errorf("role_order: found the circle %s; expected each role above others only",
					strings.Join(append([]string{role}, way...), " > ")))
			}
			below[role] = append(below[role], next)
		}
	}
	order := make(roleOrder, len(below))
	for role := range below {
		reached := make(map[string]bool)
		collectBelow(below, role, reached)
		order[role] = reached
	}
	return order, nil
}

// pathDown is the way from one role down to another, both included; nil if
// there is none. The graph so far has no circle.
func pathDown(below map[string][]string, from, to string, way []string) []string {
	way = append(way, from)
	if from == to {
		return way
	}
	for _, next := range below[from] {
		if found := pathDown(below, next, to, way); found != nil {
			return found
		}
	}
	return nil
}

func collectBelow(below map[string][]string, role string, reached map[string]bool) {
	for _, next := range below[role] {
		if !reached[next] {
			reached[next] = true
			collectBelow(below, next, reached)
		}
	}
}

// hasRole reports whether the token holds the role, or one that it comes with.
func (id *identity) hasRole(role string) bool {
	if slices.Contains(id.roles, role) {
		return true
	}
	if id.by == nil || id.by.order == nil {
		return false
	}
	return slices.ContainsFunc(id.roles, func(held string) bool { return id.by.order[held][role] })
}
