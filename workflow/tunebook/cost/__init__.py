"""What a run costs before it runs: architectures, the tensors that training holds, and the memory of this machine."""
