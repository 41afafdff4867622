package rules

import "github.com/google/nftables"

// tableOfTests is for rules that go nowhere.
var tableOfTests = &nftables.Table{Name: "test", Family: nftables.TableFamilyIPv4}
