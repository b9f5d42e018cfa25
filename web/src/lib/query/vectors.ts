// Figures of embeddings.  Pure.

/** The Euclidean length. */
export function norm(vector: number[]): number {
  return Math.sqrt(vector.reduce((sum, one) => sum + one * one, 0));
}

/** How alike two directions are, from -1 to 1; 0 beside a vector of no length. */
export function cosine(a: number[], b: number[]): number {
  const dot = a.reduce((sum, one, at) => sum + one * (b[at] ?? 0), 0);
  return dot / (norm(a) * norm(b) || 1);
}
