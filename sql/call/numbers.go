package call

// numbers are the numbers of a session's last calls, so that none is made twice:
// of the last 4096 at least. The zero value has none.
type numbers struct{ young, old map[[numberSize]byte]struct{} }

const youngNumbers = 4096

// add adds a number, and reports false if it is there.
func (n *numbers) add(number [numberSize]byte) bool {
	_, young := n.young[number]
	_, old := n.old[number]
	if young || old {
		return false
	}
	if n.young == nil || len(n.young) == youngNumbers {
		n.old, n.young = n.young, make(map[[numberSize]byte]struct{})
	}
	n.young[number] = struct{}{}
	return true
}
