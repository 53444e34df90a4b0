"""Use cases. One public function is one use case and one transaction; plain values go in and come out."""
