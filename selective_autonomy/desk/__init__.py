"""The embedded BPM desk: real BPMN processes, simulated customers and operators, a known truth."""
