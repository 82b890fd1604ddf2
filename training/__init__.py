"""The pipeline that learns sparse convolutional autoencoders and writes model bundles."""
