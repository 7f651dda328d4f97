"""Making a release public: a folder, a static site, or a repository of the Hugging Face hub."""
