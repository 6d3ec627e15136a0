// Reads one JSON object a line on standard input; prints for each what kstatus makes of it, as one line of JSON.
package main

import (
	"bufio"
	"encoding/json"
	"log"
	"os"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Longer than the largest object that an API server takes.
const longestLine = 8 << 20

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, longestLine)
	answers := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		var object unstructured.Unstructured
		if err := object.UnmarshalJSON(lines.Bytes()); err != nil {
			log.Fatalf("not an object: %v", err)
		}
		result, err := status.Compute(&object)
		if err != nil {
			log.Fatalf("kstatus cannot judge the object: %v", err)
		}
		if err := answers.Encode(map[string]string{"status": result.Status.String(), "message": result.Message}); err != nil {
			log.Fatal(err)
		}
	}
	if err := lines.Err(); err != nil {
		log.Fatal(err)
	}
}
