"""npm: the registry API that npm, pnpm and yarn speak."""
