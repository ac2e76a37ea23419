"""The frame of JSON APIs: operations that say what they need, and a document of them."""
