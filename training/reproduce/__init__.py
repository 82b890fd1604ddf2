"""The paper's tables, figures and claims, measured anew: jobs that can be resumed, and a report beside its numbers."""
