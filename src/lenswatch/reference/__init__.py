"""The reference: pictures, the autoencoder, its training, and the files that training writes."""
