package ops

import (
	"encoding/base64"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// mostPerPage bounds a page whose size the caller left open or set too high.
const mostPerPage = 1000

// Page cuts one page out of all, which keeps its order from call to call. The
// token names the last item of the page before, so that items that come or go
// meanwhile neither repeat nor hide others.
func Page[T any](all []T, name func(T) string, size int32, token string) (page []T, next string, err error) {
	if size < 0 {
		return nil, "", status.Errorf(codes.InvalidArgument, "page_size: %d is negative", size)
	}
	if size == 0 || size > mostPerPage {
		size = mostPerPage
	}
	if token != "" {
		last, err := base64.RawURLEncoding.DecodeString(token)
		if err != nil {
			return nil, "", status.Errorf(codes.InvalidArgument, "page_token: %q is none of ours", token)
		}
		after := -1
		for i, item := range all {
			if name(item) == string(last) {
				after = i
			}
		}
		if after < 0 {
			return nil, "", status.Errorf(codes.InvalidArgument, "page_token: the item it points at is gone, list again")
		}
		all = all[after+1:]
	}
	if int(size) >= len(all) {
		return all, "", nil
	}
	page = all[:size]
	return page, base64.RawURLEncoding.EncodeToString([]byte(name(page[size-1]))), nil
}
