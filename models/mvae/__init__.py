"""MVAE, the variational autoencoder with a multinomial likelihood."""
