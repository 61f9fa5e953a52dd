"""The reference: pictures, the autoencoder, its training and the folder it leaves."""
